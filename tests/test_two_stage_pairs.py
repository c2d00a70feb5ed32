"""Which networks go one before the other, and what of two stages is refused before anything is trained."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.models import registry
from engine.models.staged import TwoStages, build_second
from engine.preflight import check_study, impossible
from engine.spec.load import study_of
from engine.spec.model import Model
from tests.staged import CLASSIFIER, configuration, document, first_of, study

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study().fixed.data, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"segment": {"name": "resnet34"}},
      "^model.two_stage.segment: resnet34 cannot segment; choose a model that does"),
     ({"segment": {"name": "resnet34", "tasks": ["classify"]}}, "segment: model 'resnet34' has no masks"),
     ({"classify": {"name": "u2net"}},
      "^model.two_stage.classify: u2net cannot classify; choose a model that does"),
     ({"segment": {"name": "mt_unetpp"}}, r"segment: .*mt_unetpp takes \[segment, classify\]"),
     ({"classify": CLASSIFIER | {"tasks": ["segment", "classify"]}}, "must only classify"),
     ({"classify": CLASSIFIER | {"loss": {"segmentation": "dice"}}}, "classify: loss.segmentation=dice"),
     ({"segment": {"name": "u2net"}},
      "segment: an image size of 32 leaves u2net one pixel to look at; use at least 64$")],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused_naming_the_stage(changes: dict[str, Any], told: str) -> None:
    (problem,) = impossible(configuration(**changes), 32 if "size" in told else 64, 3)
    assert re.search(told, problem)


def test_settings_beside_the_stages_are_refused() -> None:
    beside = document() | {"train": {"epochs": 9}}
    (problem,) = impossible(study_of(beside, "test").configuration({}), 32, 3)
    assert problem.startswith("train: is set beside model.two_stage")


BOTH = ["segment", "classify"]


def tasks_of(name: str) -> list[list[str]]:
    """What a row of the registry can be built for."""
    row = registry.find(name)
    return [list(tasks) for tasks in row.choices.get("tasks", (row.defaults["tasks"],))]  # type: ignore[union-attr]


def stage(name: str, tasks: list[str]) -> dict[str, Any]:
    loss = {"classification": "cross_entropy"} if tasks == ["classify"] else {"segmentation": "dice_ce"}
    return {"name": name, **registry.find(name).small, "tasks": tasks, "loss": loss}


SEGMENTERS = [n for n in registry.MODELS if ["segment"] in tasks_of(n) or BOTH in tasks_of(n)]
CLASSIFIERS = [n for n in registry.MODELS if ["classify"] in tasks_of(n)]


def test_any_segmenter_of_the_registry_goes_before_any_classifier() -> None:
    """A network that can only do both may segment, and must say so."""
    assert len(SEGMENTERS) > 30
    assert len(CLASSIFIERS) > 20
    for segmenter in SEGMENTERS:
        first = stage(segmenter, ["segment"] if ["segment"] in tasks_of(segmenter) else BOTH)
        for classifier in CLASSIFIERS:
            spec = configuration(segment=first, classify=stage(classifier, ["classify"]))
            assert list(impossible(spec, 64, 3)) == [], (segmenter, classifier)


@pytest.mark.parametrize(
    ("segmenter", "classifier"),
    [*((name, "alexnet") for name in SEGMENTERS), *(("unet_mtl", name) for name in CLASSIFIERS)],
)
def test_a_pair_is_one_model_of_both_tasks(segmenter: str, classifier: str) -> None:
    first = stage(segmenter, ["segment"] if ["segment"] in tasks_of(segmenter) else BOTH)
    spec = configuration(segment=first, classify=stage(classifier, ["classify"]))
    two = spec.model.two_stage
    assert two is not None
    one = registry.build(first_of(spec).trained.model, 1, 3, 64)
    pair = TwoStages(one, build_second(spec.trained.model, two, 1, 3, 64), 0.5).eval()
    with torch.no_grad():
        said = pair(torch.rand(2, 1, 64, 64))
    assert (said.masks[-1].shape, said.logits.shape) == ((2, 1, 64, 64), (2, 3))


def test_more_inner_folds_than_cases_of_a_class_are_refused(pack: Pack) -> None:
    spec = study(inner_folds=20)
    with pytest.raises(SonotuneError, match=r"inner_folds=20 is too many .* fold r0-f0: class"):
        check_study(spec, pack, make_folds(pack, spec.fixed.folds))


@pytest.mark.parametrize("stage", ["segment", "classify"])
@pytest.mark.parametrize("content", ["another architecture", "no state_dict", "no torch file"])
def test_weights_that_do_not_fit_are_refused_before_anything_is_trained(
    pack: Pack, tmp_path: Path, stage: str, content: str
) -> None:
    path = tmp_path / "weights.pt"
    if content == "another architecture":
        torch.save(registry.build(Model(name="alexnet", width=4), 1, 3, 64).state_dict(), path)
    elif content == "no state_dict":
        torch.save([1, 2], path)
    else:
        path.write_bytes(b"PK" + bytes(range(256)))
    networks = {"segment": {"name": "unet_r18", "width": 4, "weights": str(path)},
                "classify": {"name": "resnet34", "width": 4, "weights": str(path)}}  # fmt: skip
    sized = document(**{stage: networks[stage]}) | {"data": {"source": "phantom", "count": 48, "size": 64}}
    spec = study_of(sized, "test")
    larger = load(spec.fixed.data, tmp_path / "cache")
    with pytest.raises(SonotuneError, match=f"model.two_stage.{stage}.weights=") as told:
        check_study(spec, larger, make_folds(larger, spec.fixed.folds))
    assert str(told.value).count("\n") == 0


@pytest.mark.parametrize("feed", ["overlay", "channel"])
def test_weights_are_tried_on_as_many_channels_as_the_second_stage_will_see(
    tmp_path: Path, feed: str
) -> None:
    path, seen = tmp_path / "weights.pt", 2 if feed == "channel" else 1
    torch.save(registry.build(Model(name="resnet34", width=4), seen, 3, 64).state_dict(), path)
    classify = {"name": "resnet34", "width": 4, "weights": str(path)}
    sized = document(classify=classify, feed=feed) | {"data": {"source": "phantom", "count": 48, "size": 64}}
    spec = study_of(sized, "test")
    check_study(spec, load(spec.fixed.data, tmp_path / "cache"))
