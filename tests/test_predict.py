"""New images through a run's picked networks, and what is written of them."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engine.cli.app import app
from engine.data.decode import read_image
from engine.data.load import find, load
from engine.data.phantom import generate
from engine.errors import SonotuneError
from engine.models.registry import build
from engine.predict.ensemble import Member, load_picked
from engine.predict.export import export
from engine.predict.predict import look, network_input, packed, predict
from engine.spec.data import Data
from engine.spec.model import Model
from engine.spec.predict import Predict
from engine.storage import open_storage
from tests.layouts import some_pictures, write_busi
from tests.predicted import CLASSES, STUDY
from tests.trained import finished_run

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("small"), STUDY)


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
    from engine.folder import study_in
    from engine.training.prepared import prepared

    pack = load(study_in(open_storage(run)).fixed.data, tmp_path)
    cv2.imwrite(str(tmp_path / "case.png"), pack.images[0])
    picked = load_picked(str(run), "cpu")
    trained_on = prepared(pack, picked.configuration.preprocess, np.arange(len(pack)))[:1]
    given = network_input(picked, cv2.imread(str(tmp_path / "case.png"), cv2.IMREAD_GRAYSCALE))
    assert np.array_equal(given.numpy(), trained_on.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("aspect", ["pad", "stretch"])
def test_an_oblong_image_becomes_the_square_that_training_saw_of_it(tmp_path: Path, aspect: Any) -> None:
    root = write_busi(tmp_path / "busi", some_pictures())
    data = Data(source="busi", root=str(root), size=32, aspect=aspect)
    pack = load(data, tmp_path / "cache")
    for case in find(data).cases:
        grey = read_image(case.image)
        assert grey.shape[0] != grey.shape[1]
        assert np.array_equal(packed(grey, data), pack.images[pack.cases.index(case.name)])


@pytest.mark.parametrize("said", CLASSES)
@pytest.mark.parametrize(("threshold", "drawn"), [(0.001, True), (0.999, False)])
@pytest.mark.parametrize("refine", [False, True])
def test_the_spec_says_what_is_a_lesion_and_whether_class_and_mask_must_agree(
    run: Path, pictures: list[Path], said: str, threshold: float, drawn: bool, refine: bool
) -> None:
    """Of networks that say one class of everything: all lies above one threshold, nothing above the other."""
    picked = load_picked(str(run), "cpu")
    for member in picked.ensemble.ordered:
        last = [layer for layer in member.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
        last.bias.data[CLASSES.index(said)] += 50
    spec = picked.configuration.model_copy(update={"predict": Predict(threshold=threshold, refine=refine)})
    found = look(replace(picked, configuration=spec), pictures[0]).finding
    assert found.raw_label == said
    assert found.label == ("normal" if refine and not drawn else said)
    assert found.lesion_share == (drawn and not (refine and said == "normal"))


def test_of_several_masks_the_final_one_is_drawn() -> None:
    network = build(Model(name="u2net_lite", width=2, deep_supervision=True), 1, 3, 64).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        masks, said = network(images).masks, Member(network, [0.0], [1.0])(images).masks
    assert not torch.equal(masks[0], masks[-1])
    assert torch.equal(said, torch.sigmoid(masks[-1]))


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


def test_a_place_that_cannot_be_written_is_named_before_and_while_writing(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    picked = load_picked(str(run), "cpu")
    with pytest.raises(SonotuneError, match=r"cannot write to '.*taken'"):
        predict(picked, pictures, tmp_path / "taken")
    with pytest.raises(SonotuneError, match=r"cannot write to '.*taken/below'"):
        export(picked, tmp_path / "taken" / "below")
    for write in (lambda to: predict(picked, pictures, to), lambda to: export(picked, to)):
        with pytest.raises(SonotuneError, match=r"cannot write to s3://bucket/out: this goes to a disk"):
            write(Path("s3://KEY:SECRET@bucket/out"))


def test_a_name_that_is_no_text_is_printed_and_written(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    odd = pictures[0].rename(pictures[0].with_name("odd-\udce4[red].png"))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["predict", str(run), str(odd), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "folds differ" in done.output
    assert b"odd-\\udce4[red].png" in (out / "predictions.csv").read_bytes()
