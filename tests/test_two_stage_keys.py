"""What a first stage depends on: its key changes with all that it reads, and with nothing else."""

from typing import Any

import pytest

from engine.spec.load import study_of
from engine.spec.study import Configuration
from tests.staged import (
    CLASSIFIER,
    SEGMENTER,
    configuration,
    document,
    first_of,
)


@pytest.mark.parametrize(
    "changes",
    [{"feed": "crop", "margin": 0.5}, {"classify": CLASSIFIER | {"width": 8}},
     {"classify": CLASSIFIER | {"train": {"lr": 0.1}}},
     *({"segment": SEGMENTER | {"train": SEGMENTER["train"] | idle}}
       for idle in ({"retries": 5}, {"timeout": 60.0}, {"momentum": 0.5}, {"plateau_patience": 3},
                    {"lr_floor": 0.1}, {"decay": 0.5}, {"oversample_rounding": "ceil"})),
     {"segment": SEGMENTER | {"tasks": ("segment",)}}],
)  # fmt: skip
def test_what_only_the_second_stage_reads_leaves_the_first_ones_key(changes: dict[str, Any]) -> None:
    changed = configuration(**changes)
    assert first_of(changed).key == first_of(configuration()).key
    assert changed.config_id != configuration().config_id


@pytest.mark.parametrize(
    ("asked", "read"),
    [({"optimizer": "sgd"}, {"momentum": 0.5}), ({"schedule": "plateau"}, {"plateau_patience": 3}),
     ({"schedule": "cosine"}, {"lr_floor": 0.1}), ({"schedule": "lambda"}, {"decay": 0.5}),
     ({"oversample": "deterministic"}, {"oversample_rounding": "ceil"})],
)  # fmt: skip
def test_a_setting_that_another_one_wakes_changes_the_first_stages_key(
    asked: dict[str, Any], read: dict[str, Any]
) -> None:
    keys = {
        first_of(configuration(segment=SEGMENTER | {"train": SEGMENTER["train"] | asked | more})).key
        for more in ({}, read)
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    "changes",
    [{"segment": SEGMENTER | {"width": 8}}, {"segment": SEGMENTER | {"augment": {"preset": "none"}}},
     {"inner_folds": 3}, {"masks": "truth"},
     *({"segment": SEGMENTER | {"train": SEGMENTER["train"] | read}}
       for read in ({"betas": (0.5, 0.9)}, {"clip": 1.0}, {"optimizer": "sgd"}, {"schedule": "cosine"}))],
)  # fmt: skip
def test_what_the_first_stage_reads_changes_its_key(changes: dict[str, Any]) -> None:
    assert first_of(configuration(**changes)).key != first_of(configuration()).key


def test_the_preprocessing_changes_the_key_and_the_threshold_does_not() -> None:
    def key(**sections: Any) -> str:
        return first_of(study_of(document() | sections, "test").configuration({})).key

    assert key(predict={"threshold": 0.7}) == key()
    assert key(preprocess={"clahe": 2.0}) != key()


@pytest.mark.parametrize(
    ("name", "values", "idle", "read"),
    [("margin", (0.2, 0.5), {"feed": "overlay"}, {"feed": "crop"}),
     ("inner_folds", (2, 5), {"masks": "truth"}, {"masks": "crossfit"})],
)  # fmt: skip
def test_what_nothing_reads_makes_no_other_configuration(
    name: str, values: tuple[Any, Any], idle: dict[str, str], read: dict[str, str]
) -> None:
    def made(setting: dict[str, str]) -> list[Configuration]:
        return [configuration(**{name: value}, **setting) for value in values]

    assert len({one.config_id for one in made(idle)}) == 1
    assert len({first_of(one).key for one in made(idle)}) == 1
    assert len({one.config_id for one in made(read)}) == 2
    assert name not in made(idle)[0].record()["model"]["two_stage"]
    (again,) = {Configuration.model_validate(one.record()).config_id for one in made(idle)}
    assert again == made(idle)[0].config_id
