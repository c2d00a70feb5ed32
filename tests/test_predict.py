"""New images through a run's picked networks, and those networks taken elsewhere."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engine.cli.app import app
from engine.data.phantom import generate
from engine.errors import SonotuneError
from engine.predict import export as exporting
from engine.predict.ensemble import load_picked
from engine.predict.export import export
from engine.predict.finding import disagreement, judge
from engine.predict.overlay import outlined
from engine.predict.predict import network_input, predict, restore
from engine.predict.written import names_of
from engine.spec.study import Configuration
from engine.storage import open_storage
from engine.training import checkpoint
from tests.trained import finished_run

torch.set_num_threads(1)
CLASSES = ("benign", "malignant", "normal")
STUDY: dict[str, Any] = {
    "study": "small",
    "data": {"source": "phantom", "count": 24, "size": 32, "aspect": "pad"},
    "folds": {"k": 2, "validation": 0.3},
    "model": {"name": "unet_mtl", "width": 4, "depth": 2},
    "train": {"epochs": 2, "batch": 8},
    "predict": {"refine": True},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("small"), STUDY)


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normalised by the training cases' own figures, and with two channels."""
    own = {"preprocess": {"normalise": "dataset", "derivative": 1.0}, "model": STUDY["model"]}
    return finished_run(tmp_path_factory.mktemp("measured"), STUDY | own)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two images of different shapes, neither square."""
    images, _, _ = generate(3, 64, CLASSES, seed=5)
    paths = [tmp_path / "in" / name for name in ("first.png", "second.jpg")]
    paths[0].parent.mkdir()
    for path, image, shape in zip(paths, images[:2], ((90, 60), (50, 81)), strict=True):
        cv2.imwrite(str(path), cv2.resize(image, shape))
    return paths


def test_masks_and_overlays_have_the_images_own_size(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    found = predict(load_picked(str(run), "cpu"), pictures, tmp_path / "out")
    for finding, (height, width) in zip(found, ((60, 90), (81, 50)), strict=True):
        mask = cv2.imread(str(finding.mask), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) <= {0, 255}
        assert int((mask > 0).sum()) == finding.lesion_pixels
        assert cv2.imread(str(finding.overlay)).shape == (height, 2 * width, 3)


def test_the_table_has_a_row_per_image_and_probabilities_that_sum_to_one(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    predict(load_picked(str(run), "cpu"), pictures, tmp_path / "out")
    with (tmp_path / "out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == list(map(str, pictures))
    for row in rows:
        assert sum(float(row[f"probability_{name}"]) for name in CLASSES) == pytest.approx(1)
        assert row["label"] in CLASSES
        assert 0 <= float(row["mask_disagreement"]) <= 1
        assert float(row["class_disagreement"]) >= 0


def test_a_packed_training_case_is_said_the_same_of_as_in_training(run: Path, tmp_path: Path) -> None:
    """A square image of the study's size goes through decoder and preprocessing unchanged."""
    from engine.data.load import load
    from engine.folder import study_in
    from engine.training.prepared import prepared

    pack = load(study_in(open_storage(run)).fixed.data, tmp_path)
    cv2.imwrite(str(tmp_path / "case.png"), pack.images[0])
    picked = load_picked(str(run), "cpu")
    trained_on = prepared(pack, picked.configuration.preprocess, np.arange(len(pack)))[:1]
    given = network_input(picked, cv2.imread(str(tmp_path / "case.png"), cv2.IMREAD_GRAYSCALE))
    assert np.array_equal(given.numpy(), trained_on.transpose(0, 3, 1, 2))


def test_each_member_normalises_by_its_own_training_cases(measured_run: Path, tmp_path: Path) -> None:
    from engine.data.load import load
    from engine.data.preprocess import prepare
    from engine.folder import manifest_in, study_in
    from engine.training.job import Parts

    storage = open_storage(measured_run)
    pack = load(study_in(storage).fixed.data, tmp_path)
    picked = load_picked(str(measured_run), "cpu")
    for fold, member in zip(manifest_in(storage).folds, picked.ensemble.ordered, strict=True):
        rows = Parts.of(fold, pack).train
        trained_on = prepare(pack.images, picked.configuration.preprocess, rows)[0].transpose(2, 0, 1)
        given = member.normalised(network_input(picked, pack.images[0]))[0].numpy()
        assert given == pytest.approx(trained_on, abs=1e-6)
    scales = [member.mean.flatten().tolist() for member in picked.ensemble.ordered]
    assert scales[0] != scales[1]


def test_the_ensemble_is_the_mean_of_its_folds(run: Path) -> None:
    ensemble = load_picked(str(run), "cpu").ensemble
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        each, whole = ensemble.each(images), ensemble(images)
        alone = [member(images) for member in ensemble.ordered]
    assert ensemble.names == ("r0-f0", "r0-f1")
    assert torch.allclose(whole.masks, (alone[0].masks + alone[1].masks) / 2)
    assert torch.allclose(whole.classes, (alone[0].classes + alone[1].classes) / 2)
    assert each.classes.shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("raw", "lesion", "refines", "final", "kept", "odd"),
    [
        (2, True, True, 2, False, True),  # said normal: the mask is emptied
        (2, True, False, 2, True, True),
        (0, False, True, 2, False, True),  # nothing drawn: said normal
        (0, False, False, 0, False, True),
        (0, True, True, 0, True, False),
        (2, False, True, 2, False, False),
    ],
)
def test_refinement_makes_class_and_mask_agree(
    raw: int, lesion: bool, refines: bool, final: int, kept: bool, odd: bool
) -> None:
    judged = judge(raw, np.full((4, 4), lesion, np.uint8), CLASSES, refines)
    assert judged.mask is not None
    assert (judged.final, bool(judged.mask.any()), judged.incoherent) == (final, kept, odd)


def test_one_task_alone_cannot_be_incoherent() -> None:
    assert judge(1, None, CLASSES, True).incoherent is None
    assert judge(None, np.ones((2, 2), np.uint8), CLASSES, True).incoherent is None


def test_folds_that_agree_do_not_differ_and_disjoint_ones_do() -> None:
    half = np.zeros((2, 4, 4))
    half[:, :2] = 1.0
    assert disagreement(half, 0.5) == 0.0
    assert disagreement(np.zeros((2, 4, 4)), 0.5) == 0.0
    half[1] = half[1, ::-1]
    assert disagreement(half, 0.5) == 1.0


@pytest.mark.parametrize(("shape", "aspect"), [((40, 60), "pad"), ((61, 40), "pad"), ((40, 60), "stretch")])
def test_a_square_is_taken_back_to_where_it_came_from(shape: tuple[int, int], aspect: str) -> None:
    from engine.data.pack import pad, resize_image

    image = np.zeros(shape, np.uint8)
    image[10:30, 15:35] = 255
    square = resize_image(pad(image) if aspect == "pad" else image, 64).astype(np.float32) / 255
    back = restore(square, shape, aspect) > 0.5
    assert back.shape == shape
    assert (back != (image > 0)).mean() < 0.02


def test_every_broken_image_is_named_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    paths = [tmp_path / "text.png", tmp_path / "gone.png", tmp_path]
    with pytest.raises(SonotuneError) as caught:
        predict(load_picked(str(run), "cpu"), paths, tmp_path / "out")
    assert all(word in str(caught.value) for word in ("text.png", "gone.png", "folder"))
    assert not (tmp_path / "out").exists()


def test_images_of_one_name_do_not_overwrite_each_other(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    twin = tmp_path / "first.png"
    twin.write_bytes(pictures[0].read_bytes())
    found = predict(load_picked(str(run), "cpu"), [pictures[0], twin], tmp_path / "out")
    assert [Path(str(f.mask)).name for f in found] == ["first.png", "first-2.png"]


def test_an_outline_shows_holes_and_leaves_a_long_thin_image_to_be_seen() -> None:
    ring = np.zeros((40, 3000), np.uint8)
    ring[5:35, 100:2900] = 1
    ring[15:25, 1000:2000] = 0
    drawn = outlined(np.zeros(ring.shape, np.uint8), ring).any(axis=2)
    assert drawn[14, 1000:2000].all()  # the hole's edge
    assert drawn.mean() < 0.1


def test_only_the_extensions_of_images_are_taken_off_a_name() -> None:
    given = ["1.2.840.1", "1.2.840.2", "scan.PNG", "scan.tif", "a.b.jpeg"]
    assert list(names_of(list(map(Path, given)))) == ["1.2.840.1", "1.2.840.2", "scan", "scan-2", "a.b"]


def test_masks_of_a_data_set_are_not_overwritten_but_those_of_a_prediction_are(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    truth = tmp_path / "masks" / "second.png"
    truth.parent.mkdir()
    truth.write_bytes(b"drawn by a person")
    picked = load_picked(str(run), "cpu")
    with pytest.raises(SonotuneError, match=r"second\.png is there already"):
        predict(picked, pictures, tmp_path)
    assert truth.read_bytes() == b"drawn by a person"
    assert not (tmp_path / "masks" / "first.png").exists()
    for _ in range(2):
        predict(picked, pictures, tmp_path / "out")


def test_nor_are_they_in_a_folder_that_was_predicted_into_before(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    picked, truth = load_picked(str(run), "cpu"), tmp_path / "masks" / "second.png"
    predict(picked, pictures[:1], tmp_path)
    cv2.imwrite(str(truth), np.zeros((8, 8), np.uint8))
    drawn = truth.read_bytes()
    with pytest.raises(SonotuneError, match=r"second\.png is there already"):
        predict(picked, pictures, tmp_path)
    assert truth.read_bytes() == drawn


def test_a_table_of_the_same_name_that_is_not_of_findings_is_not_overwritten(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "predictions.csv").write_text("patient,diagnosis\n7,benign\n")
    with pytest.raises(SonotuneError, match=r"predictions\.csv is there already"):
        predict(load_picked(str(run), "cpu"), pictures, tmp_path)
    assert not (tmp_path / "masks").exists()


def test_the_command_prints_findings_for_programs(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    words = ["predict", str(run), *map(str, pictures), "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert [one["image"] for one in json.loads(result.stdout)] == list(map(str, pictures))


def test_long_paths_are_told_whole(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    place = tmp_path / ("deep" * 30)
    place.mkdir()
    given = [path.rename(place / path.name) for path in pictures]
    done = CliRunner().invoke(app, ["predict", str(run), *map(str, given), "--out", str(tmp_path / "out")])
    told = "".join(line.split(" ")[1] for line in done.output.splitlines()[1:] if line.startswith(" "))
    assert "…" not in done.output
    assert all(str(path) in told for path in given)


def test_a_run_without_a_report_or_without_networks_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(SonotuneError, match="holds no run"):
        load_picked(str(tmp_path), "cpu")
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    shutil.rmtree(bare / "checkpoints")
    with pytest.raises(SonotuneError, match="keep_configurations"):
        load_picked(str(bare), "cpu")
    shutil.rmtree(bare / "report")
    with pytest.raises(SonotuneError, match="sonotune report"):
        load_picked(str(bare), "cpu")


def test_checkpoints_without_figures_of_their_training_cases_are_refused(
    measured_run: Path, tmp_path: Path
) -> None:
    import shutil

    old = tmp_path / "old"
    shutil.copytree(measured_run, old)
    storage = open_storage(old)
    key = storage.list("checkpoints")[0]
    path = f"checkpoints/{key}/r0-f0/best.pt"
    state = checkpoint.load(storage, path, "cpu")
    assert state is not None
    checkpoint.save(storage, path, {"model": state["model"], "epoch": state["epoch"]})
    with pytest.raises(SonotuneError, match="mean and deviation"):
        load_picked(str(old), "cpu")


@pytest.fixture(scope="module")
def exported(measured_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    place = tmp_path_factory.mktemp("exported") / "out"
    export(load_picked(str(measured_run), "cpu"), place)
    return place


@pytest.mark.export
def test_the_page_on_exports_names_the_files_that_one_has(exported: Path) -> None:
    page = Path(__file__).parents[1].joinpath("docs/predict.md").read_text()
    written = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    table = page.split("## What `export` writes")[1]
    named = set(re.findall(r"^\| (`[^|]+) \|", table, re.M))
    assert named == {f"`{re.sub(r'r0-f[0-9]', '<fold>', name)}`" for name in written}


@pytest.mark.export
def test_exported_networks_give_the_same_numbers(measured_run: Path, exported: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    picked = load_picked(str(measured_run), "cpu")
    spec = json.loads((exported / "spec.json").read_text())
    images = torch.rand(3, *spec["input"]["shape"][1:])
    with torch.no_grad():
        wanted = [part.numpy() for part in picked.ensemble(images)]
        program = torch.export.load(exported / "ensemble.pt2").module()
        assert all(np.allclose(a.numpy(), b, atol=1e-5) for a, b in zip(program(images), wanted, strict=True))
    session = onnxruntime.InferenceSession(str(exported / "ensemble.onnx"))
    said = dict(zip(spec["outputs"], session.run(spec["outputs"], {"images": images.numpy()}), strict=True))
    assert np.allclose(said["masks"], wanted[0], atol=1e-4)
    assert np.allclose(said["classes"], wanted[1], atol=1e-4)


@pytest.mark.export
def test_exported_state_dicts_need_only_their_description(exported: Path) -> None:
    from engine.models.registry import build

    spec = json.loads((exported / "spec.json").read_text())
    configuration = Configuration.model_validate(spec["configuration"])
    _, channels, size, _ = spec["input"]["shape"]
    network = build(configuration.model, channels, len(spec["classes"]), size)
    assert list(spec["members"]) == ["r0-f0", "r0-f1"]
    for name in spec["members"]:
        state = torch.load(exported / "weights" / f"{name}.pt", weights_only=True)
        network.load_state_dict(state)


def test_an_export_that_lacks_a_package_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SonotuneError, match="pip install onnx onnxscript"):
        export(load_picked(str(run), "cpu"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_does_not_mix_with_what_is_there(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SonotuneError, match="not empty"):
        export(load_picked(str(run), "cpu"), tmp_path)


def test_an_export_that_was_cut_off_is_in_nobodys_way(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    picked = load_picked(str(run), "cpu")
    (tmp_path / ".sonotune-killed" / "weights").mkdir(parents=True)
    monkeypatch.setattr(exporting, "_write_program", cut_off)
    with pytest.raises(KeyboardInterrupt):
        export(picked, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(exporting, "_write_program", lambda *_: None)
    done = export(picked, tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in done.files] == [
        "spec.json", "weights/r0-f0.pt", "weights/r0-f1.pt"
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.json", "weights"]


def test_a_place_that_cannot_be_written_is_named_before_and_while_writing(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    picked = load_picked(str(run), "cpu")
    with pytest.raises(SonotuneError, match=r"cannot write to '.*taken'"):
        predict(picked, pictures, tmp_path / "taken")
    with pytest.raises(SonotuneError, match=r"cannot write to '.*taken/below'"):
        export(picked, tmp_path / "taken" / "below")


def test_a_name_that_is_no_text_is_printed_and_written(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    odd = pictures[0].rename(pictures[0].with_name("odd-\udce4[red].png"))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["predict", str(run), str(odd), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "folds differ" in done.output
    assert b"odd-\\udce4[red].png" in (out / "predictions.csv").read_bytes()
