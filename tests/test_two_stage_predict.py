"""A picked pair of networks: as one model for people, and taken elsewhere with the same numbers."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.data.phantom import generate
from engine.models.contract import Prediction
from engine.models.registry import build
from engine.models.staged import Fed, TwoStages, build_second
from engine.predict.ensemble import load_picked
from engine.predict.export import export
from engine.predict.predict import network_input, predict
from engine.spec.study import Configuration
from engine.training.masks import quantised, restored
from tests.trained import finished_run

torch.set_num_threads(1)
NETWORK = {"name": "unet_mtl", "width": 4, "depth": 2}
SEGMENT = NETWORK | {"loss": {"segmentation": "dice_ce"}, "train": {"epochs": 2, "batch": 8, "lr": 1e-2}}
CLASSIFY = NETWORK | {"train": {"epochs": 1, "batch": 8, "lr": 1e-3}}


def study(feed: str) -> dict[str, Any]:
    two = {"segment": SEGMENT, "classify": CLASSIFY, "feed": feed, "inner_folds": 2}
    return {
        "study": "pair",
        "data": {"source": "phantom", "count": 24, "size": 32},
        "folds": {"k": 2, "validation": 0.3},
        "preprocess": {"normalise": "dataset"},
        "model": {"two_stage": two},
        "predict": {"threshold": 0.4},
    }


@pytest.fixture(scope="module", params=["overlay", "crop"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp(request.param), study(request.param))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    place = tmp_path_factory.mktemp("exported") / "out"
    export(load_picked(str(run), "cpu"), place)
    return place


@pytest.fixture(scope="module")
def images(run: Path) -> torch.Tensor:
    """Phantoms with and without a lesion, prepared as the networks want them."""
    greys, _, _ = generate(6, 32, ("benign", "malignant", "normal"), seed=5)
    picked = load_picked(str(run), "cpu")
    return torch.cat([network_input(picked, grey) for grey in greys])


@pytest.mark.parametrize("threshold", [0.003, 0.2, 0.37, 0.5, 0.62, 0.998])
def test_the_second_network_is_shown_the_mask_that_a_run_would_have_stored(threshold: float) -> None:
    """Probabilities about the cut, where a byte and the number that it stands for lie on both sides of it."""
    said = torch.linspace(threshold - 0.003, threshold + 0.003, 64).clamp(1e-4, 1 - 1e-4).reshape(1, 1, 8, 8)
    seen: list[torch.Tensor] = []

    class Segmenter(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Prediction:
            return Prediction([said.logit()], None, {})

    class Classifier(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Prediction:
            seen.append(x[:, -1:])
            return Prediction([], x.mean((2, 3)), {})

    TwoStages(Segmenter(), Fed(Classifier(), "channel", 0.2), threshold)(torch.zeros(1, 1, 8, 8))
    stored = restored(quantised(said.logit().sigmoid().numpy())) > threshold
    assert np.array_equal(seen[0].numpy() > 0, stored)


@pytest.mark.export
def test_an_exported_pair_gives_the_same_numbers(run: Path, exported: Path, images: torch.Tensor) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    spec = json.loads((exported / "spec.json").read_text())
    with torch.no_grad():
        wanted = [part.numpy() for part in load_picked(str(run), "cpu").ensemble(images)]
        program = torch.export.load(exported / "ensemble.pt2").module()
        for ours, theirs in zip(program(images), wanted, strict=True):
            assert np.allclose(ours.numpy(), theirs, atol=1e-5)
    session = onnxruntime.InferenceSession(str(exported / "ensemble.onnx"))
    said = session.run(spec["outputs"], {"images": images.numpy()})
    assert spec["outputs"] == ["masks", "classes"]
    for ours, theirs in zip(said, wanted, strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)


@pytest.mark.export
def test_the_two_files_of_a_fold_make_its_pair_again(run: Path, exported: Path, images: torch.Tensor) -> None:
    spec = json.loads((exported / "spec.json").read_text())
    configuration = Configuration.model_validate(spec["configuration"])
    first, two = configuration.first_stage, configuration.model.two_stage
    assert first is not None
    assert two is not None
    _, channels, size, _ = spec["input"]["shape"]
    classes = len(spec["classes"])
    for name, member in zip(spec["members"], load_picked(str(run), "cpu").ensemble.ordered, strict=True):
        segmenter = build(first.trained.model, channels, classes, size)
        classifier = build_second(configuration.trained.model, two, channels, classes, size)
        for network, part in ((segmenter, "segment"), (classifier.network, "classify")):
            state = torch.load(exported / "weights" / f"{name}.{part}.pt", weights_only=True)
            network.load_state_dict(state)
        pair = TwoStages(segmenter, classifier, configuration.predict.threshold).eval()
        x = member.normalised(images)
        with torch.no_grad():
            assert torch.equal(pair(x).logits, member.network(x).logits)


def test_a_pair_is_predicted_with_masks_overlays_and_classes(run: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "new.png"), generate(3, 64, ("benign", "malignant", "normal"), 1)[0][0])
    (found,) = predict(load_picked(str(run), "cpu"), [tmp_path / "new.png"], tmp_path / "out")
    assert found.label in ("benign", "malignant", "normal")
    assert cv2.imread(str(found.mask)).shape[:2] == (64, 64)
    assert cv2.imread(str(found.overlay)).shape == (64, 128, 3)
