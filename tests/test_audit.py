"""The audit finds what was planted, tells it apart from what merely looks alike, and curates by its rule."""

import csv
import html
import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.cli.data import app
from engine.data.audit import Audit, audit
from engine.data.curate import compare, curate
from engine.data.duplicates import THRESHOLDS, components, neighbours
from engine.data.load import load
from engine.data.phantom import generate
from engine.data.select import read_ids
from engine.data.similarity import laid_over, similarity, thumbnail
from engine.errors import SonotuneError
from engine.spec.data import Data
from tests import layouts

SIDE = 128


def sound(root: Path, each: int = 6) -> Path:
    """BUSI's layout with phantoms large enough to be told apart."""
    for seed, label in enumerate(layouts.CLASSES):
        images, masks, _ = generate(each, SIDE, (label,), seed)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True), start=1):
            put(root, label, number, image, mask)
    return root


def put(root: Path, label: str, number: int, image: np.ndarray, mask: np.ndarray) -> None:
    layouts.save(root / label / f"{label} ({number}).png", image)
    layouts.save(root / label / f"{label} ({number})_mask.png", mask * 255)


def pixels(root: Path, label: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    files = (root / label / f"{label} ({number}){ending}.png" for ending in ("", "_mask"))
    image, mask = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files)
    return image, mask // 255


def audited(root: Path, method: str = "aligned") -> Audit:
    data = Data(source="busi", root=str(root))
    return audit(data, method, THRESHOLDS[method])  # type: ignore[arg-type,index]


def groups(found: Audit) -> list[set[str]]:
    return [{facts.case.name for facts in members} for members in found.groups.values()]


def rules(found: Audit, case: str) -> set[str]:
    return {finding.rule for finding in found.findings if case in (finding.case, finding.other)}


def cropped(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 14:]


def brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.2 + 12, 0, 255).astype(np.uint8)


def with_callipers(image: np.ndarray) -> np.ndarray:
    drawn = image.copy()
    for x, y in ((40, 50), (85, 60), (60, 90)):
        cv2.drawMarker(drawn, (x, y), 255, cv2.MARKER_CROSS, 7)
    return drawn


def test_phantoms_of_one_class_are_no_duplicates(tmp_path: Path) -> None:
    assert groups(audited(sound(tmp_path, 12))) == []


@pytest.mark.parametrize("change", [cropped, brighter, with_callipers])
def test_the_same_frame_saved_otherwise_is_found(tmp_path: Path, change: object) -> None:
    root = sound(tmp_path)
    image, mask = pixels(root, "benign", 2)
    put(root, "benign", 70, change(image), cropped(mask) if change is cropped else mask)  # type: ignore[operator]
    found = audited(root)
    assert groups(found) == [{"benign (2)", "benign (70)"}]
    assert "near-duplicate" in rules(found, "benign (2)")
    assert "masks-disagree" not in rules(found, "benign (2)")


def test_the_same_pixels_are_an_exact_duplicate_whatever_the_file(tmp_path: Path) -> None:
    root = sound(tmp_path)
    image, mask = pixels(root, "malignant", 1)
    put(root, "malignant", 70, image, mask)
    layouts.save(root / "malignant" / "malignant (70).bmp", image)
    (root / "malignant" / "malignant (70).png").unlink()
    assert "exact-duplicate" in rules(audited(root), "malignant (70)")


def test_duplicates_of_two_labels_conflict(tmp_path: Path) -> None:
    root = sound(tmp_path)
    put(root, "malignant", 70, *pixels(root, "benign", 3))
    found = audited(root)
    assert len(found.conflicts) == 1
    assert "labels-conflict" in rules(found, "malignant (70)")


def test_two_outlines_of_one_frame_disagree(tmp_path: Path) -> None:
    root = sound(tmp_path)
    image, mask = pixels(root, "benign", 3)
    put(root, "benign", 70, image, np.roll(mask, 25, axis=1))
    assert "masks-disagree" in rules(audited(root), "benign (3)")


def test_all_pairs_as_they_lie_find_what_is_not_cropped(tmp_path: Path) -> None:
    root = sound(tmp_path, 4)
    image, mask = pixels(root, "benign", 2)
    put(root, "benign", 70, brighter(image), mask)
    assert groups(audited(root, "ssim")) == [{"benign (2)", "benign (70)"}]


def test_broken_files_are_told_and_do_not_stop_the_audit(tmp_path: Path) -> None:
    root = sound(tmp_path)
    (root / "benign" / "benign (1).png").write_bytes(b"junk")
    (root / "benign" / "benign (2)_mask.png").unlink()
    image, mask = pixels(root, "benign", 3)
    layouts.save(root / "benign" / "benign (3)_mask.png", (mask * 255)[:64])
    layouts.save(root / "benign" / "benign (4)_mask.png", mask * 0)
    soft = cv2.GaussianBlur(mask * 255, (5, 5), 2)
    layouts.save(root / "benign" / "benign (5)_mask.png", soft)
    tiny = np.zeros_like(mask)
    tiny[5:9, 5:9] = 1
    layouts.save(root / "benign" / "benign (6)_mask.png", tiny * 255)
    dots = np.zeros_like(mask)
    dots[10:20, 10:20] = dots[40:50, 10:20] = dots[10:20, 40:50] = 1
    layouts.save(root / "malignant" / "malignant (1)_mask.png", dots * 255)
    layouts.save(root / "malignant" / "malignant (2).png", np.hstack([image] * 4))
    layouts.save(root / "malignant" / "malignant (2)_mask.png", np.hstack([mask * 255] * 4))
    found = audited(root)
    expected = {
        "benign (1)": "format", "benign (2)": "no-mask", "benign (3)": "mask-size",
        "benign (4)": "empty-mask", "benign (5)": "mask-levels", "benign (6)": "tiny-lesion",
        "malignant (1)": "many-lesions", "malignant (2)": "odd-size",
    }  # fmt: skip
    assert {case: rule for case, rule in expected.items() if rule not in rules(found, case)} == {}
    offered = next(finding for finding in found.findings if finding.rule == "mask-size")
    assert "data.other_mask_size: resize" in offered.text


def test_a_mask_whose_lesion_is_its_dark_part_is_told(tmp_path: Path) -> None:
    root = sound(tmp_path)
    for number in (1, 2):
        _, mask = pixels(root, "benign", number)
        layouts.save(root / "benign" / f"benign ({number})_mask.png", (1 - mask) * 255)
    large = np.ones_like(mask)
    large[:4, :4] = 0
    layouts.save(root / "benign" / "benign (3)_mask.png", large * 255)
    told = [finding for finding in audited(root).findings if finding.rule == "inverted-mask"]
    assert [(finding.case, finding.weight) for finding in told] == [
        ("benign (1)", "look"),
        ("benign (2)", "look"),
    ]


def test_a_patient_with_two_labels_is_told(tmp_path: Path) -> None:
    layouts.write_bus_uclm(tmp_path, layouts.some_pictures(5))
    found = audit(Data(source="bus_uclm", root=str(tmp_path)), "aligned", 0.85)
    assert {finding.case for finding in found.findings if finding.rule == "patient-labels"} == {
        "P002_000", "P002_001",
    }  # fmt: skip


def test_dropping_leaves_no_member_and_keeping_leaves_the_largest(tmp_path: Path) -> None:
    root = sound(tmp_path)
    image, mask = pixels(root, "benign", 2)
    put(
        root,
        "benign",
        70,
        np.kron(image, np.ones((2, 2), np.uint8)),
        np.kron(mask, np.ones((2, 2), np.uint8)),
    )
    put(root, "malignant", 70, *pixels(root, "benign", 3))
    put(root, "normal", 70, *pixels(root, "normal", 1))
    (root / "normal" / "normal (2).png").write_bytes(b"junk")
    found = audited(root)
    kept, gone = curate(found, "drop-all")
    assert {one.case for one in gone} == {
        "benign (2)", "benign (70)", "benign (3)",
        "malignant (70)", "normal (1)", "normal (70)", "normal (2)",
    }  # fmt: skip
    kept, gone = curate(found, "keep-one")
    reasons = {one.case: one.reason for one in gone}
    assert reasons == {
        "benign (2)": "duplicate of benign (70)",
        "benign (3)": "quarantined: its duplicates have another label",
        "malignant (70)": "quarantined: its duplicates have another label",
        "normal (70)": "duplicate of normal (1)",
        "normal (2)": "broken: format",
    }
    assert len(kept) + len(gone) == len(found.facts)


def run(root: Path, out: Path, *more: str) -> str:
    result = CliRunner().invoke(
        app,
        ["audit", "--source", "busi", "--root", str(root), "--out", str(out), *more],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    return result.output


def test_the_command_writes_files_that_a_study_uses(tmp_path: Path) -> None:
    root, out = sound(tmp_path / "data"), tmp_path / "out"
    put(root, "benign", 70, *pixels(root, "benign", 2))
    told = run(root, out, "--write-groups", "--curate", "keep-one")
    assert "1 group of duplicates" in told
    assert "the largest image stays" in told
    table = pq.read_table(out / "audit.parquet")
    assert "exact-duplicate" in table.column("rule").to_pylist()
    data = Data(source="busi", root=str(root), size=16, groups=str(out / "groups.csv"))
    pack = load(data, tmp_path / "cache")
    assert [case for case, group in zip(pack.cases, pack.groups, strict=True) if group] == [
        "benign (2)", "benign (70)",
    ]  # fmt: skip
    curated = Data(source="busi", root=str(root), size=16, keep="curated", ids=str(out / "curated.csv"))
    assert len(load(curated, tmp_path / "cache")) == 18


def test_a_curated_table_is_a_manifest_inside_the_data_set(tmp_path: Path) -> None:
    root, out = sound(tmp_path / "data"), tmp_path / "out"
    put(root, "benign", 70, *pixels(root, "benign", 2))
    layouts.save(root / "benign" / "benign (70)_mask_1.png", pixels(root, "benign", 3)[1] * 255)
    run(root, out, "--curate", "keep-one")
    (root / "curated.csv").write_bytes((out / "curated.csv").read_bytes())
    of_manifest = load(Data(source="manifest", root=str(root / "curated.csv"), size=16), tmp_path / "cache")
    curated = Data(source="busi", root=str(root), size=16, keep="curated", ids=str(out / "curated.csv"))
    assert load(curated, tmp_path / "cache").fingerprint == of_manifest.fingerprint
    with (out / "left_out.csv").open() as file:
        assert [row["reason"] for row in csv.DictReader(file)] == ["duplicate of benign (2)"]


def test_a_curated_table_is_the_same_wherever_the_data_set_is_named_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = sound(tmp_path / "d")
    run(root, tmp_path / "whole", "--curate", "keep-one")
    monkeypatch.chdir(tmp_path)
    run(Path("d"), tmp_path / "near", "--curate", "keep-one")
    near, whole = ((tmp_path / place / "curated.csv").read_text() for place in ("near", "whole"))
    assert near == whole
    assert "benign/benign (1).png,benign/benign (1)_mask.png" in near.splitlines()[1]


def test_cases_that_others_kept_and_nobody_has_here_are_told(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    (tmp_path / "ids.csv").write_text("class;id\nbenign;1\nbenign;2\nBenign;3\n")
    words = ["audit", "--source", "busi", "--root", str(root), "--out", str(tmp_path / "a")]
    told = CliRunner().invoke(app, [*words, "--against", str(tmp_path / "ids.csv")])
    assert "it names 1 case unknown here, such as 'Benign (3)'" in told.output
    with pytest.raises(SonotuneError, match="does not exist"):
        CliRunner().invoke(
            app, [*words[:-1], str(tmp_path / "b"), "--against", "nowhere.csv"], catch_exceptions=False
        )
    assert not (tmp_path / "b").exists()


def test_the_page_shows_pairs_and_escapes_names(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    table = layouts.write_manifest(root, layouts.some_pictures(), lambda n: {"case": f"<b>{n}&"})
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows, rows[1].replace("<b>0&", "<i>copy")]))
    result = CliRunner().invoke(
        app,
        ["audit", "--source", "manifest", "--root", str(table), "--out", str(out)],
        catch_exceptions=False,
    )
    page = (out / "audit.html").read_text()
    assert result.exit_code == 0
    assert html.escape("<i>copy") in page
    assert "<i>copy" not in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_nothing_is_written_when_curation_would_leave_nothing(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    picture = layouts.some_pictures(1)[0]
    layouts.write_busi(root, [picture] * 4)
    for name in ("malignant", "normal"):
        (root / name).mkdir()
    arguments = ["audit", "--source", "busi", "--root", str(root), "--out", str(out), "--curate", "drop-all"]
    with pytest.raises(SonotuneError, match="would leave no case"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (out / "curated.csv").exists()


def test_phantoms_have_no_files_to_audit() -> None:
    with pytest.raises(SonotuneError, match="needs files"):
        audit(Data(), "aligned", 0.85)


def test_similarity_is_one_for_the_same_and_low_for_noise() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.uniform(0, 255, (64, 64)).astype(np.float32) for _ in range(2))
    inside = np.ones((64, 64), np.uint8)
    assert similarity(first, first, inside) == pytest.approx(1.0)
    assert similarity(first, second, inside) < 0.1


def test_a_crop_is_registered_to_its_frame() -> None:
    image = generate(1, 128, ("benign",), 3)[0][0]
    match = laid_over(thumbnail(image), thumbnail(image[:, 20:]))
    assert match.score > 0.9
    assert match.warp[0, 0] == pytest.approx(128 / 108, abs=0.05)


def test_candidates_hold_the_nearest_of_each_image() -> None:
    images = generate(20, 64, ("benign", "malignant"), 0)[0]
    pairs = neighbours(np.stack([thumbnail(image) for image in [*images, images[7]]]))
    assert (7, 20) in pairs
    assert {index for pair in pairs for index in pair} == set(range(21))
    assert neighbours(images[:1]) == []


def test_groups_are_everything_that_is_linked() -> None:
    assert components([(1, 2), (5, 6), (2, 3), (6, 9), (4, 5)]) == [[1, 2, 3], [4, 5, 6, 9]]


def busi() -> tuple[Path, Path]:
    root, ids = os.environ.get("SONOTUNE_BUSI"), os.environ.get("SONOTUNE_BUSI_CURATED")
    if not root or not ids:
        pytest.skip("SONOTUNE_BUSI and SONOTUNE_BUSI_CURATED name no copy of BUSI and Curated BUSI's ids")
    return Path(root), Path(ids)


@pytest.mark.slow
def test_duplicates_of_busi_agree_with_those_that_curated_busi_left_out() -> None:
    root, ids = busi()
    agreement = compare(audited(root), read_ids(ids))
    assert agreement.recall == 1.0
    assert agreement.precision > 0.98


def test_the_real_busi_is_read_whole(tmp_path: Path) -> None:
    root, ids = busi()
    pack = load(Data(source="busi", root=str(root), size=64), tmp_path)
    assert np.bincount(pack.labels).tolist() == [437, 210, 133]
    curated = Data(source="busi", root=str(root), size=64, keep="curated", ids=str(ids))
    assert np.bincount(load(curated, tmp_path).labels).tolist() == [222, 164, 64]
