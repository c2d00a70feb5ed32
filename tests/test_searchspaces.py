"""The search spaces that come along: sound, complete, and true to what the papers print."""

from pathlib import Path
from typing import Any

import pytest

from engine.data.load import load as load_data
from engine.models.registry import MODELS
from engine.preflight import problems_of
from engine.sampler.sampler import Sampler
from engine.spec.load import load
from engine.spec.study import Configuration, Study
from tests.layouts import some_pictures, write_udiat

FOLDER = Path(__file__).parents[1] / "searchspaces"
PATHS = sorted(FOLDER.glob("*.yaml"))
NAMES = [path.stem for path in PATHS]
OURS = (
    "mtl_oca",
    "mtl_oca_ablation",
    "refining_unetpp",
    "refining_nnunet",
    "refining_ablation",
    "backbones_single_task",
    "acsnet",
    "acsnet_ablation",
    "acsnet_peers",
    "best_of_all",
)
STAGED = ("two_stage", "two_stage_peers", "multi_task_vs_two_stage")  # fmt: skip

REFINING = {
    "data.size": 128, "data.keep": "curated", "folds.k": 4, "loss.lambda": 0.85, "loss.focal_gamma": 2.0,
    "loss.segmentation": "dice_squared", "loss.classification": "focal", "loss.deep_supervision": "inverse",
    "train.epochs": 200, "train.batch": 2, "train.optimizer": "adam", "train.lr": 1e-4,
    "train.schedule": "constant", "train.weight_decay": 0.0, "train.oversample": "deterministic",
    "train.oversample_rounding": "nearest", "predict.refine": True, "augment.flip_horizontal.p": 0.5,
    "augment.flip_vertical.p": 0.5, "augment.rotation.p": 1.0, "augment.rotation.high": 180.0,
}  # fmt: skip
ACSNET = {
    "model.name": "acsnet", "model.encoder": "resnet18", "data.size": 256,
    "data.classes": ("benign", "malignant"), "folds.k": 5, "loss.lambda": 0.7, "loss.gamma": 0.2,
    "loss.segmentation": "dice", "loss.classification": "binary_cross_entropy", "loss.lossnet.levels": 4,
    "train.epochs": 100, "train.batch": 16, "train.optimizer": "adam", "train.lr": 1e-4,
    "train.betas": (0.9, 0.99), "train.weight_decay": 1e-4, "train.schedule": "cosine", "train.lr_floor": 0.1,
    "augment.flip_horizontal.p": 0.5, "augment.rotation.low": 10.0, "augment.rotation.high": 30.0,
}  # fmt: skip
MTL_OCA = {
    "model.name": "mtl_oca", "data.size": 128, "folds.k": 5, "loss.lambda": 0.5,
    "loss.segmentation": "cross_entropy", "loss.classification": "cross_entropy", "train.epochs": 400,
    "train.batch": 16, "train.optimizer": "adam", "train.lr": 1e-3, "train.schedule": "constant",
    "train.weight_decay": 0.0, "train.oversample": "none", "augment.rotation.high": 45.0,
    "augment.flip_horizontal.p": 0.5, "augment.crop.p": 0.5, "augment.crop.kind": "centre",
    "predict.refine": False,
}  # fmt: skip

PRINTED: dict[tuple[str, str | None], dict[str, Any]] = {
    ("mtl_oca", None): MTL_OCA | {"loss.alpha": 0.4},
    ("mtl_oca_ablation", None): MTL_OCA,
    ("refining_unetpp", None): REFINING | {"model.name": "mt_unetpp"},
    ("refining_unetpp", "bus_uclm"): REFINING
    | {"loss.lambda": 0.4, "train.epochs": 250, "data.source": "bus_uclm", "data.keep": "all"},
    ("refining_nnunet", None): REFINING | {"model.name": "mt_nnunet"},
    ("refining_ablation", None): REFINING
    | {"model.name": "refining", "model.backbone": "unetpp", "loss.deep_supervision": "auto"},
    ("acsnet", None): ACSNET,
    ("acsnet", "udiat"): ACSNET | {"train.batch": 4, "train.epochs": 90, "data.source": "udiat"},
    ("acsnet_ablation", None): ACSNET,
    ("acsnet_peers", None): {name: fact for name, fact in ACSNET.items() if name != "model.encoder"},
}


def space(name: str, profile: str | None = None) -> Study:
    return load(FOLDER / f"{name}.yaml", profile)


def configurations(study: Study) -> list[Configuration]:
    """Of every branch and of both ends of every range."""
    return [study.configuration(params) for params in study.space.probes()]


def fact(study: Study, configuration: Configuration, name: str) -> Any:
    section, *path = name.split(".")
    value: Any = getattr(configuration if hasattr(configuration, section) else study.fixed, section)
    for part in path:
        value = getattr(value, "lambda_" if part == "lambda" else part)
    return value


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_every_space_begins_with_its_schema_and_has_a_smoke_profile(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    smoke = load(path, "smoke").fixed
    assert (smoke.data.source, smoke.folds.k, smoke.search.configs) == ("phantom", 2, 2)


@pytest.mark.parametrize("profile", [None, "smoke"])
@pytest.mark.parametrize("name", NAMES)
def test_every_corner_of_every_space_can_be_built(name: str, profile: str | None) -> None:
    study = space(name, profile)
    assert list(problems_of(study, study.fixed.data.size, study.fixed.data.classes)) == []


@pytest.mark.parametrize("name", NAMES)
def test_any_data_set_can_be_put_in(name: str, tmp_path: Path) -> None:
    """As far as the images: no list of another data set's cases, no class that this one does not have."""
    pictures = some_pictures(12, ("benign", "malignant"))
    root = write_udiat(tmp_path / "udiat", pictures, "folders")
    study = load(FOLDER / f"{name}.yaml", None, ["data.source=udiat", f"data.root={root}"])
    pack = load_data(study.fixed.data, tmp_path / "cache")
    assert (len(pack.cases), pack.classes) == (24, ("benign", "malignant"))
    assert list(problems_of(study, study.fixed.data.size, pack.classes)) == []


def test_what_is_set_beside_another_source_holds() -> None:
    settings = ["data.keep=curated", "data.ids=mine.csv", "data.source=bus_uclm", "data.root=/elsewhere"]
    data = load(FOLDER / "refining_unetpp.yaml", None, settings).fixed.data
    assert (data.keep, data.ids, data.classes) == ("curated", "mine.csv", ("benign", "malignant", "normal"))


@pytest.mark.parametrize("name", OURS)
def test_the_smoke_profile_trains_two_epochs_and_begins_with_the_paper(name: str) -> None:
    study = space(name, "smoke")
    assert study.fixed.search.first == "paper"
    assert {c.train.epochs for c in configurations(study)} == {2}
    assert study.fixed.data.count <= 40
    assert study.fixed.data.size <= 64


@pytest.mark.parametrize("name", OURS)
def test_the_papers_configuration_leaves_nothing_to_chance(name: str) -> None:
    study = space(name)
    for start in study.first:
        assert set(start) == {dimension.name for dimension in study.space.active(start)}


@pytest.mark.parametrize(("name", "profile"), PRINTED, ids=lambda value: str(value or "default"))
def test_the_first_configuration_is_the_one_that_the_paper_printed(name: str, profile: str | None) -> None:
    study = space(name, profile)
    first = study.configuration(study.first[0])
    printed = PRINTED[name, profile]
    assert {path: fact(study, first, path) for path in printed} == printed


@pytest.mark.parametrize("name", OURS)
def test_a_grid_of_an_ablation_is_counted_right(name: str) -> None:
    from engine.sampler.designs import combinations

    study = space(name)
    if study.fixed.search.sampler == "grid":
        assert study.fixed.search.configs == len(list(combinations(study.space.dimensions)))


def test_best_of_all_begins_with_the_three_published_systems() -> None:
    study = space("best_of_all")
    first = [study.configuration(start) for start in study.first]
    assert [c.model.name for c in first] == ["mtl_oca", "mt_unetpp", "acsnet"]
    assert [c.loss.lambda_ for c in first] == [0.5, 0.85, 0.7]


def test_every_published_row_has_a_place_in_a_space() -> None:
    found = [c for name in NAMES for c in configurations(space(name))]
    parts = [part for c in found for part in (c, c.first_stage) if part is not None]
    missing = set(MODELS) - {part.trained.model.name for part in parts}
    assert missing == set()


@pytest.mark.parametrize("name", OURS)
def test_a_search_hands_out_the_paper_first(name: str) -> None:
    study = space(name)
    asked = Sampler(study.fixed.search, study.space, study.fixed.seed, first=study.first).ask()
    assert asked is not None
    assert asked.params == study.first[0]


TWO_STAGE = {
    "segment.name": "u2net_lite", "segment.loss.segmentation": "dice", "segment.train.optimizer": "sgd",
    "segment.train.lr": 1e-3, "segment.train.momentum": 0.9, "segment.train.weight_decay": 5e-4,
    "segment.train.batch": 8, "segment.augment.preset": "two_stage", "classify.name": "deepcardinal50",
    "classify.loss.classification": "cross_entropy", "classify.train.optimizer": "adam",
    "classify.train.lr": 1e-4, "classify.train.batch": 16, "classify.train.epochs": 100,
    "classify.train.schedule": "plateau", "classify.train.plateau_factor": 0.1,
    "classify.train.plateau_patience": 10, "classify.augment.preset": "two_stage", "masks": "crossfit",
}  # fmt: skip


@pytest.mark.parametrize("name", ["two_stage", "two_stage_peers"])
def test_the_two_stages_begin_with_the_papers_recipe(name: str) -> None:
    study = space(name)
    first = study.configuration(study.first[0])
    printed = {f"model.two_stage.{path}": value for path, value in TWO_STAGE.items()}
    assert {path: fact(study, first, path) for path in printed} == printed
    assert set(study.first[0]) == {dimension.name for dimension in study.space.active(study.first[0])}


def test_all_second_stages_of_the_paper_stand_behind_one_first_stage() -> None:
    found = configurations(space("two_stage_peers"))
    assert {c.trained.model.name for c in found} == {"deepcardinal50", "resnet50", "resnet34", "alexnet"}
    assert {c.trained.model.dropout for c in found if c.trained.model.name == "alexnet"} == {0.5}
    assert len({c.first_stage.key for c in found if c.first_stage}) == 1


def test_both_shapes_begin_on_the_same_folds() -> None:
    study = space("multi_task_vs_two_stage")
    first = [study.configuration(start) for start in study.first]
    assert [c.model.two_stage is None for c in first] == [True, False]
