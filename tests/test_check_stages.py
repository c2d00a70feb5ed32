"""Of two stages `sonotune check` counts both, and a GPU is measured with both."""

from pathlib import Path
from typing import Any

import pytest

from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.preflight import check_study
from engine.probe import _measured, memory_of_largest
from engine.spec.study import Configuration, FirstStage
from engine.training.alone import Bench
from engine.training.measure import Costs
from engine.training.trial_step import Measured
from tests.packs import labels_of, pack_of
from tests.staged import CLASSIFIER, SEGMENTER, configuration, study

SLOW = SEGMENTER | {"train": {"epochs": 3, "batch": 8}}
QUICK = CLASSIFIER | {"train": {"epochs": 2, "batch": 8}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The keys of what is measured; each of its steps takes a second, of either stage."""
    keys: list[str] = []

    def measure(job: Any, pack: Any) -> Measured:
        keys.append(job.task.key)
        return Measured(job.configuration, Costs(), 1.0, steps=1, validated=0)

    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr("engine.probe.measure", measure)
    monkeypatch.setattr("engine.training.memory.in_use", lambda: (1.0, 2.0))
    return keys


@pytest.mark.parametrize(("masks", "networks"), [("crossfit", 5), ("truth", 1)])
def test_a_fold_takes_the_time_of_each_network_of_its_first_stage(
    masks: str, networks: int, asked: list[str]
) -> None:
    """One per inner fold, and the one for the whole training part."""
    staged = {"segment": SLOW, "classify": QUICK, "inner_folds": 4, "masks": masks}
    bench, one = Bench.of(study(**staged)), configuration(**staged)
    found = _measured(bench, one, bench.manifest.names[0])
    assert found.fold_seconds == networks * 3 + 2
    assert found.epochs == networks * 3 + 2
    assert asked == [one.config_id, stage_of(one).key]


def test_the_memory_of_a_fold_is_that_of_the_hungrier_of_its_stages(asked: list[str]) -> None:
    bench, one = Bench.of(study()), configuration()
    assert memory_of_largest(bench) == (1.0, 2.0)
    assert sorted(asked) == sorted([stage_of(one).key, one.config_id])


def stage_of(one: Configuration) -> FirstStage:
    assert one.first_stage is not None
    return one.first_stage


def test_each_number_of_inner_folds_that_a_space_holds_must_fit_the_folds() -> None:
    """The base of the space fits; the other end does not."""
    spec = study(inner_folds={"choice": [2, 3, 20]})
    pack = pack_of(labels_of(24, 24, 24))
    with pytest.raises(SonotuneError, match="inner_folds=20 is too many for the training") as error:
        check_study(spec, pack, make_folds(pack, spec.fixed.folds))
    assert str(error.value).count("inner_folds=") == 1
