"""Packing happens once per content, survives a damaged cache, and keeps image and mask together."""

from pathlib import Path

import numpy as np
import pytest

from engine.data import load as loading
from engine.data import pack as packing
from engine.data.load import load
from engine.errors import SonotuneError
from engine.spec.data import Data
from tests import layouts
from tests.layouts import HEIGHT, WIDTH, some_pictures


@pytest.fixture
def data(tmp_path: Path) -> Data:
    root = layouts.write_busi(tmp_path / "data", some_pictures())
    return Data(source="busi", root=str(root), size=16)


def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever cases are decoded."""
    counted: list[int] = []
    whole = loading.squares

    def count(*arguments: object) -> object:
        counted.append(1)
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "squares", count)
    return counted


def test_a_second_load_reads_the_memory_map(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = decodes(monkeypatch)
    first, second = load(data, tmp_path / "c"), load(data, tmp_path / "c")
    assert counted == [1]
    assert first.fingerprint == second.fingerprint
    assert (first.images == second.images).all()
    assert (first.masks == second.masks).all()
    assert (first.labels == second.labels).all()
    assert not second.images.flags.writeable
    assert second.cases == first.cases


def test_a_changed_file_is_packed_anew(data: Data, tmp_path: Path) -> None:
    first = load(data, tmp_path / "c")
    path = Path(data.root or "") / "benign" / "benign (1).png"
    layouts.save(path, some_pictures(1, seed=9)[0].image)
    second = load(data, tmp_path / "c")
    assert second.fingerprint != first.fingerprint
    assert not (second.images[0] == first.images[0]).all()


def test_the_same_files_elsewhere_have_the_same_fingerprint(data: Data, tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "moved", some_pictures())
    moved = data.model_copy(update={"root": str(root)})
    assert load(moved, tmp_path / "c").fingerprint == load(data, tmp_path / "c").fingerprint
    assert len(list((tmp_path / "c" / "packs").glob("*.arrow"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "junk", "empty"])
def test_a_damaged_cache_is_packed_anew(data: Data, tmp_path: Path, damage: str) -> None:
    first = load(data, tmp_path / "c")
    (file,) = (tmp_path / "c" / "packs").glob("*.arrow")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    changed = {"cut": content[:middle], "flip": content, "junk": b"no arrow", "empty": b""}
    file.unlink()
    if damage != "delete":
        file.write_bytes(changed[damage])
    again = load(data, tmp_path / "c")
    assert again.fingerprint == first.fingerprint
    assert (again.images == first.images).all()


def test_a_damaged_index_is_packed_anew(data: Data, tmp_path: Path) -> None:
    first = load(data, tmp_path / "c")
    (entry,) = (tmp_path / "c" / "packs" / "index").iterdir()
    entry.write_text("{")
    assert load(data, tmp_path / "c").fingerprint == first.fingerprint


def test_notes_of_a_packing_are_told_at_every_start(data: Data, tmp_path: Path) -> None:
    (Path(data.root or "") / "benign" / "benign (1).png").write_bytes(b"")
    data = data.model_copy(update={"skip_broken": True})
    first, second = load(data, tmp_path / "c"), load(data, tmp_path / "c")
    assert first.notes == second.notes
    assert "benign (1).png" in first.notes[0]
    assert "benign (1)" not in first.cases


def test_nothing_is_half_written_when_a_data_set_is_refused(data: Data, tmp_path: Path) -> None:
    (Path(data.root or "") / "benign" / "benign (1).png").write_bytes(b"")
    with pytest.raises(SonotuneError, match="zero bytes"):
        load(data, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_progress_is_told_per_case(data: Data, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    load(data, tmp_path / "c", lambda *step: told.append(step))
    assert told[:12] == [("packing images", done, 12) for done in range(1, 13)]
    compared = len(told) - 12
    assert told[12:] == [("looking for copies", done, compared) for done in range(1, compared + 1)]


def test_a_phantom_is_packed_like_any_other_source(tmp_path: Path) -> None:
    data = Data(count=12, size=16, classes=("malignant", "benign"))
    first, second = load(data, tmp_path), load(data, tmp_path)
    assert first.fingerprint == second.fingerprint
    assert second.cases[0] == "phantom-00001"
    assert set(second.labels) == {0, 1}
    assert not second.images.flags.writeable


def test_padding_keeps_proportions_and_covers_a_square_of_original_pixels(data: Data, tmp_path: Path) -> None:
    pack = load(data.model_copy(update={"aspect": "pad", "size": WIDTH}), tmp_path / "c")
    picture = some_pictures()[0]
    top = (WIDTH - HEIGHT) // 2
    assert (pack.sizes == WIDTH).all()
    assert (pack.images[0, top : top + HEIGHT] == picture.image).all()
    assert (pack.masks[0, top : top + HEIGHT] == picture.mask).all()
    assert (pack.images[0, :top] == 0).all()


def test_what_is_stretched_covers_the_pixels_it_had(data: Data, tmp_path: Path) -> None:
    assert np.unique(load(data, tmp_path / "c").sizes, axis=0).tolist() == [[HEIGHT, WIDTH]]


@pytest.mark.parametrize("shape", [(3, 6), (6, 3), (4, 4)])
def test_a_padded_picture_is_square_also_where_the_sides_differ_by_an_odd_number(
    shape: tuple[int, int],
) -> None:
    padded = packing.pad(np.ones(shape, np.uint8))
    assert padded.shape == (max(shape), max(shape))
    assert padded.sum() == np.prod(shape)


@pytest.mark.parametrize("size", [16, 31, 64, 100])
def test_a_mask_stays_on_its_image_when_both_are_resized(size: int) -> None:
    y, x = np.mgrid[:90, :70]
    mask = ((y - 50) ** 2 + (x - 30) ** 2 < 400).astype(np.uint8)
    small_image = packing.resize_image(mask * 200, size).astype(float)
    small_mask = packing.resize_mask(mask, size)
    for axis in (0, 1):
        along = np.arange(size)[:, None] if axis == 0 else np.arange(size)[None, :]
        of_image = (along * small_image).sum() / small_image.sum()
        of_mask = (along * small_mask).sum() / small_mask.sum()
        assert abs(of_image - of_mask) < 0.1 * size / 16


def test_a_long_thin_image_is_averaged_along_the_side_that_shrinks() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (20, 60))  # every other column, 20 x 120
    assert (packing.resize_image(stripes, 60) == 100).all()
    assert set(np.unique(packing.resize_image(stripes, 40)).tolist()) == {67, 133}  # three columns a pixel


def test_a_lesion_that_vanishes_in_the_square_is_told(tmp_path: Path) -> None:
    pictures = some_pictures()
    pictures[0].mask[:] = 0
    pictures[0].mask[0, 0] = 1
    root = layouts.write_busi(tmp_path / "data", pictures)
    pack = load(Data(source="busi", root=str(root), size=16), tmp_path / "c")
    assert "vanishes at 16×16" in pack.notes[0]


def test_duplicates_are_found_while_packing_and_told(data: Data, tmp_path: Path) -> None:
    root = Path(data.root or "")
    for ending in ("", "_mask"):
        content = (root / "benign" / f"benign (2){ending}.png").read_bytes()
        (root / "benign" / f"benign (8){ending}.png").write_bytes(content)
        (root / "malignant" / f"malignant (8){ending}.png").write_bytes(content)
    load(data, tmp_path / "c")
    pack = load(data, tmp_path / "c")
    groups = dict(zip(pack.cases, pack.groups, strict=True))
    assert groups["benign (2)"] == groups["benign (8)"] == groups["malignant (8)"] is not None
    assert any("duplicates of others" in note for note in pack.notes)
    assert any("conflicting labels: benign (2), benign (8), malignant (8)" in note for note in pack.notes)
    ignored = load(data.model_copy(update={"groups": "none"}), tmp_path / "c")
    assert set(ignored.groups) == {None}
    assert not any("duplicates" in note for note in ignored.notes)
    assert ignored.fingerprint == pack.fingerprint


def test_groups_of_duplicates_are_read_beside_the_pack(data: Data, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("case,group\nbenign (1),g1\nbenign (3),g1\nnowhere (1),g2\n")
    plain = load(data, tmp_path / "c")
    pack = load(data.model_copy(update={"groups": str(table)}), tmp_path / "c")
    assert pack.groups[:4] == ("g1", None, "g1", None)
    assert pack.fingerprint == plain.fingerprint


def test_a_case_in_two_groups_is_refused(data: Data, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("case,group\nbenign (1),g1\nbenign (3),g1\nbenign (1),g2\nbenign (5),g2\n")
    with pytest.raises(SonotuneError, match=r"'benign \(1\)' into two groups, 'g1' and 'g2'"):
        load(data.model_copy(update={"groups": str(table)}), tmp_path / "c")
