"""A run's picked networks, each with the scale of its own training cases, and taken elsewhere."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.data.phantom import generate
from engine.errors import SonotuneError
from engine.explain import grad_cam
from engine.predict import export as exporting
from engine.predict.ensemble import load_picked
from engine.predict.export import export
from engine.predict.predict import look, network_input
from engine.spec.study import Configuration
from engine.storage import open_storage
from engine.training import checkpoint
from tests.predicted import CLASSES, STUDY
from tests.trained import finished_run

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normalised by the training cases' own figures, and with two channels."""
    own = {"preprocess": {"normalise": "dataset", "derivative": 1.0}, "model": STUDY["model"]}
    return finished_run(tmp_path_factory.mktemp("measured"), STUDY | own)


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


def test_a_heat_map_is_of_the_image_as_each_network_sees_it(measured_run: Path, tmp_path: Path) -> None:
    """Square and of the study's size, so that nothing lies between the networks' heat and the image's."""
    picked = load_picked(str(measured_run), "cpu")
    cv2.imwrite(str(tmp_path / "case.png"), generate(3, 32, CLASSES, seed=5)[0][0])
    seen = look(picked, tmp_path / "case.png")
    images = network_input(picked, seen.grey)
    named = torch.tensor([CLASSES.index(str(seen.finding.raw_label))])
    heats = [
        grad_cam(member.network, picked.configuration.model, member.normalised(images), named)[0].numpy()
        for member in picked.ensemble.ordered
    ]
    assert seen.heat == pytest.approx(np.mean(heats, axis=0), abs=1e-6)
    assert float(seen.heat.max()) > 0


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
    measured_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SonotuneError, match="pip install onnx onnxscript"):
        export(load_picked(str(measured_run), "cpu"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_does_not_mix_with_what_is_there(measured_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SonotuneError, match="not empty"):
        export(load_picked(str(measured_run), "cpu"), tmp_path)


def test_an_export_that_was_cut_off_is_in_nobodys_way(
    measured_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    picked = load_picked(str(measured_run), "cpu")
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
