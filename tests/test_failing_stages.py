"""First stages that fail: whoever needs them fails with them, once, and whoever must know hears of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.conductor import Conductor
from engine.driver.mend import completed
from engine.finals import Finals
from engine.journal.journal import Journal, read_journal
from engine.race.events import Ended, Lost, Opened, Started
from engine.race.outcome import outcome
from engine.race.race import Race
from engine.sampler.sampler import Sampler
from engine.spec import race as spec
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.task import Task
from tests.played import resumed
from tests.staged import CLASSIFIER, document

INNER = ("r0-f0", "r0-f1")
RATES = CLASSIFIER | {"train": {"epochs": 1, "lr": {"loguniform": [1e-4, 1e-2]}}}
MANY = 30  # more tasks than any of these studies has


class Store:
    """What a driver would find of the tasks that have ended well."""

    def __init__(self) -> None:
        self.whole: set[Task] = set()

    def sound(self, task: Task, stage: Any) -> bool:
        return task in self.whole

    def end(self, one: Conductor, task: Task) -> None:
        self.whole.add(task)
        one.reported(task, 1, 0.5, [0.5])
        one.ended(task, "complete", 0.5, [0.5])


def conductor(
    folder: Path, store: Store, rule: str = "none", configs: int = 1, folds: tuple[str, ...] = INNER,
    outer: tuple[str, ...] = (),
) -> Conductor:  # fmt: skip
    study = study_of(
        document(classify=RATES)
        | {"search": {"sampler": "tpe", "configs": configs, "startup": 2}, "race": {"rule": rule}},
        "test",
    )
    race = Race(study.fixed.race, folds, configs)
    sampler = Sampler(study.fixed.search, study.space, 0)
    finals = Finals(outer, 0.2) if outer else None
    return Conductor(study, sampler, race, Journal(LocalStorage(folder)), sound=store.sound, finals=finals)


def handed(one: Conductor, act: Callable[[Task, bool], None]) -> list[tuple[str, str]]:
    """Every task until there is none; `act` ends it, told whether it is a first stage."""
    found: list[tuple[str, str]] = []
    while (task := one.next()) is not None:
        found.append(("first" if task.key in one.stages else "second", task.fold))
        assert len(found) < MANY, f"handed out without end: {found[-4:]}"
        act(task, task.key in one.stages)
    return found


@pytest.mark.parametrize("rule", ["none", "paired"])
def test_the_sampler_hears_of_a_configuration_whose_first_stage_fails(tmp_path: Path, rule: str) -> None:
    told: list[int] = []
    one = conductor(tmp_path, Store(), rule, configs=4)
    heard = one.proposals.sampler.tell

    def tell(number: int, *rest: Any) -> None:
        told.append(number)
        heard(number, *rest)

    one.proposals.sampler.tell = tell  # type: ignore[method-assign]
    handed(one, lambda task, first: one.ended(task, "diverged"))
    states = {key: found.state for key in one.entries if (found := outcome(one.race, key))}
    assert set(states.values()) == {"failed"}
    assert sorted(told) == [0, 1, 2, 3]
    again = conductor(tmp_path, Store(), rule, configs=4)
    assert resumed(again).next() is None  # the journal's questions are asked, and answered, as they were


def test_an_outer_fold_whose_first_stage_fails_is_not_tried_for_ever(tmp_path: Path) -> None:
    store = Store()
    one = conductor(tmp_path, store, folds=("o0-r0-f0", "o0-r0-f1"), outer=("o0",))

    def act(task: Task, first: bool) -> None:
        if task.fold == "o0":
            one.ended(task, "failed")
        else:
            store.end(one, task)

    assert handed(one, act)[-1] == ("first", "o0")
    assert one.next() is None


@pytest.mark.parametrize("rule", ["none", "paired"])
@pytest.mark.parametrize("outer", [(), ("o0",)])
def test_a_first_stage_that_is_damaged_after_the_end_is_trained_again_and_nothing_else(
    tmp_path: Path, rule: str, outer: tuple[str, ...]
) -> None:
    """Its masks belong to the run, though whatever was to build on them is done."""
    store, folds = Store(), tuple(f"o0-{fold}" for fold in INNER) if outer else INNER
    one = conductor(tmp_path, store, rule, folds=folds, outer=outer)
    handed(one, lambda task, first: store.end(one, task))
    (stage,) = one.stages
    done = completed(one, read_journal(LocalStorage(tmp_path))[0])
    for fold in (folds[1], *outer):
        damaged = Task(stage, fold)
        assert damaged in done
        store.whole.discard(damaged)
        one.lost(Lost(damaged))
        assert handed(one, lambda task, first: store.end(one, task)) == [("first", fold)]
    again = conductor(tmp_path, store, rule, folds=folds, outer=outer)
    assert resumed(again).next() is None


@pytest.mark.parametrize("rule", ["none", "paired"])
def test_a_second_stage_that_was_cut_off_ends_with_its_first_one(tmp_path: Path, rule: str) -> None:
    """Its first stage is lost meanwhile, and fails when it is trained again."""
    store = Store()
    one = conductor(tmp_path, store, rule)
    lost: list[Task] = []

    def act(task: Task, first: bool) -> None:
        if first and lost:
            one.ended(task, "failed")
        elif first:
            store.end(one, task)
        else:
            lost.append(task)
            store.whole.clear()
            one.ended(task, "interrupted")

    assert handed(one, act)[:3] == [("first", "r0-f0"), ("second", "r0-f0"), ("first", "r0-f0")]
    assert len(lost) == 1
    assert one.done is not None


@pytest.mark.parametrize("rule", ["none", "paired"])
def test_a_fold_that_was_complete_stays_so_when_its_first_stage_is_lost_and_fails(rule: str) -> None:
    race = Race(spec.Race.model_validate({"rule": rule}), INNER, 1)
    stage, fold = Task("s", "r0-f0"), Task("a", "r0-f0")
    race.apply(Opened("a", 1, "s"))
    for task in (stage, fold):
        race.apply(Started(task))
        race.apply(Ended(task, "complete", 0.5, (0.5,)))
    for event in (Lost(stage), Started(stage), Ended(stage, "failed")):
        race.apply(event)
    assert race.decisions() == ()
    other = Task("a", "r0-f1")
    race.apply(Started(Task("s", "r0-f1")))
    race.apply(Ended(Task("s", "r0-f1"), "complete", 0.5, (0.5,)))
    race.apply(Started(other))
    race.apply(Ended(other, "complete", 0.7, (0.7,)))
    assert race.mean("a") == pytest.approx(0.6)
