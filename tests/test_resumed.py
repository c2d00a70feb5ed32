"""What a resume, or what was lost meanwhile, must not change: small studies in which it once did."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.conductor import Conductor
from engine.journal.journal import Journal
from engine.ledger import Past
from engine.race.beliefs import Beliefs
from engine.race.events import Ended, Lost, Opened, Reported, Resumed, Started, Status
from engine.race.heat import State
from engine.race.protocol import Run
from engine.race.race import Race
from engine.race.rules import RULES
from engine.sampler.sampler import Sampler
from engine.spec import race as spec
from engine.spec.load import study_of
from engine.spec.study import Study
from engine.storage import LocalStorage
from engine.task import Task
from tests.played import cut_off, journal, play, resumed

FOLDS = ("r0-f0", "r0-f1", "r0-f2")
NESTED = ("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1")
RATES = {"lr": {"loguniform": [1e-4, 1e-1]}}
FEW = {"lr": {"choice": [1e-4, 1e-2]}}


def study(sampler: str, rule: str, configs: int, rates: dict[str, Any]) -> Study:
    return study_of(
        {
            "study": "resumed",
            "train": {"epochs": 4, **rates},
            "search": {"sampler": sampler, "configs": configs, "startup": 2},
            "race": {"rule": rule, "warmup": 1, "audit": 0, "price": 0.01},
        },
        "test",
    )


def conductor(folder: Path, of: Study, folds: tuple[str, ...] = FOLDS) -> Conductor:
    sampler = Sampler(of.fixed.search, of.space, 0)
    race = Race(of.fixed.race, folds, of.fixed.search.configs, learns=sampler.learns)
    return Conductor(of, sampler, race, Journal(LocalStorage(folder)))


def decided(folder: Path) -> list[Any]:
    """What was asked for and what was dropped, in turn."""
    found = [r for r in journal(folder) if r["event"] in ("asked", "dropped")]
    return [r.get("params") or (r["config"], r["outer"], r["reason"]) for r in found]


def racing(rule: str, configs: int = 2, folds: tuple[str, ...] = FOLDS) -> Race:
    return Race(spec.Race.model_validate({"rule": rule, "audit": 0}), folds, configs)


# -- what beliefs say ----------------------------------------------------------------------------------


def test_what_a_pattern_says_does_not_hang_on_what_is_asked_beside_it() -> None:
    """A replay is not asked what comes next, so it solves for patterns one by one; a sampler that is told a
    last digit otherwise proposes otherwise."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        folds, levels = rng.integers(1, 7), rng.integers(1, 9)
        beliefs, depth = Beliefs(folds, levels), rng.integers(0, levels + 1, (20, folds))
        depth[0] = levels
        beliefs.learn(rng.random((20, folds, levels)), depth)
        patterns = sorted({tuple(sorted(row, reverse=True)) for row in depth.tolist()})
        beliefs.prepare(patterns)
        together = [beliefs.weights(pattern) for pattern in patterns]
        for pattern, beside in zip(patterns, together, strict=True):
            beliefs._cache.clear()
            alone = beliefs.weights(pattern)
            assert alone.variance == beside.variance
            assert np.array_equal(alone.weights, beside.weights)


# -- whose turn it is ----------------------------------------------------------------------------------


def test_the_turns_of_outer_folds_are_the_same_after_a_resume(tmp_path: Path) -> None:
    of = study("nsga2", "aggressive", 3, RATES)
    list(play(conductor(tmp_path / "whole", of, NESTED)))
    for number, folder in enumerate(cut_off(tmp_path / "whole", tmp_path)):
        if number % 4 == 0:
            list(play(resumed(conductor(folder, of, NESTED))))
            assert decided(folder) == decided(tmp_path / "whole")


@pytest.mark.parametrize("rule", ["halving", "reserve", "thaw"])
def test_a_fold_that_was_to_be_frozen_when_its_driver_died_does_not_go_on(tmp_path: Path, rule: str) -> None:
    """Between a report and the freeze that it leads to: else the next slice would go to another fold than the
    race had wanted."""
    of, whole = study("random", rule, 6, RATES), tmp_path / "whole"
    list(play(conductor(whole, of)))
    records, met = journal(whole), 0
    for folder in cut_off(whole, tmp_path):
        done = len(journal(folder))
        if done < len(records) and records[done].get("status") == "frozen":
            begun = (Task(**r["task"]) for r in records[done:] if r["event"] == "started")
            assert resumed(conductor(folder, of)).next() == next(begun)
            met += 1
    assert met


# -- a space that has no more --------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["grid", "random"])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_sampler_that_has_no_more_is_not_asked_again_under_the_same_limit(
    tmp_path: Path, rule: str, sampler: str
) -> None:
    """Else the race would hold back its decisions, as if more were to come."""
    of = study(sampler, rule, 9, FEW)
    list(play(conductor(tmp_path / "whole", of)))
    for number, folder in enumerate(cut_off(tmp_path / "whole", tmp_path)):
        if number % 5 == 0:
            list(play(resumed(conductor(folder, of))))
            assert decided(folder) == decided(tmp_path / "whole")


def test_a_sampler_that_had_no_more_is_asked_again_under_another_limit(tmp_path: Path) -> None:
    list(play(conductor(tmp_path, study("random", "none", 9, FEW))))
    for configs, asked in ((9, 0), (10, 1), (10, 0)):
        before = len(decided(tmp_path))
        assert not list(play(resumed(conductor(tmp_path, study("random", "none", configs, FEW)))))
        assert bool(asked) == (len(decided(tmp_path)) > before)


# -- what has failed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["halving", "paired", "reserve", "thaw"])
def test_a_configuration_that_fails_in_its_very_last_epoch_stands_in_nobodys_way(
    tmp_path: Path, rule: str
) -> None:
    one = conductor(tmp_path, study("random", rule, 6, RATES))
    trained: Counter[str] = Counter()
    while (task := one.next()) is not None:
        best = task.key == next(iter(one.entries))
        found = 0.9 if best else 0.3 + list(one.entries).index(task.key) / 50
        for epoch in range(one.race.field.heats[None].reached[one.race.field.place(task)[1:]] + 1, 5):
            told = one.reported(task, epoch, found, [found])
            if task in told:
                one.ended(task, "stopped" if hasattr(told[task], "reason") else "frozen")
                break
        else:
            trained[task.key] += 1
            failed = best and trained[task.key] == len(FOLDS)
            one.ended(task, "diverged" if failed else "complete", found, [found])
    assert one.picks()
    assert not len(one.race.field.heats[None].alive())


@pytest.mark.parametrize("rule", ["paired", "reserve"])
def test_the_sampler_hears_of_what_was_being_stopped_when_the_driver_died(tmp_path: Path, rule: str) -> None:
    """One fold has failed, so that the other is not wanted any more; its worker died with the driver."""
    of = study("tpe", rule, 1, RATES)
    one = conductor(tmp_path, of)
    first, second = one.next(), one.next()
    assert first is not None
    assert second is not None
    one.ended(first, "failed")
    one.close()
    again = resumed(conductor(tmp_path, of))
    assert again.next() is None
    assert again.proposals.sampler._open == set()


@pytest.mark.parametrize("rule", ["none", "paired"])
def test_a_proposal_made_while_its_configuration_is_trained_again_is_told_at_its_end(
    tmp_path: Path, rule: str
) -> None:
    """Its result was damaged after the sampler had been told of the first proposal."""
    one = conductor(tmp_path, study("tpe", rule, 2, FEW))
    list(play(one))
    asked = one.proposals.ask()
    assert asked is not None
    key = one.study.configuration(asked.params).config_id
    one.lost(Lost(Task(key, FOLDS[0])))
    assert one.ledger.asked(asked.number, asked.params) == (key, False)
    assert one.proposals.sampler._open == {asked.number}
    assert list(play(one)) == [Task(key, FOLDS[0])]
    assert one.proposals.sampler._open == set()


# -- what nobody heard of ------------------------------------------------------------------------------


def test_a_fold_that_ended_when_its_driver_was_dead_was_trained_in_this_run(tmp_path: Path) -> None:
    """Its result is found, and so are the epochs that it has taken of the budget."""
    one = conductor(tmp_path, study("random", "none", 1, RATES))
    task = one.next()
    assert task is not None
    one.reported(task, 1, 0.1, [0.1])
    one.close()
    epochs = [(score, (score,)) for score in (0.1, 0.2, 0.3, 0.4)]
    again = conductor(tmp_path, study("random", "none", 1, RATES))
    again.past = lambda asked, _: Past(epochs, "complete", 0.4, (0.4,)) if asked == task else None
    assert resumed(again).next() != task
    assert again.race.score(task) == 0.4
    assert again.ledger.epochs == 4
    assert [r["epoch"] for r in journal(tmp_path) if r["event"] == "reported"] == [1, 2, 3, 4]
    assert not any("reused" in r for r in journal(tmp_path))


def test_what_was_heard_of_a_task_is_known_until_it_is_over_or_lost(tmp_path: Path) -> None:
    """Whoever takes it up again is asked for what was stored beyond that."""
    one = conductor(tmp_path, study("random", "none", 1, RATES))
    task = one.next()
    assert task is not None
    assert one.ledger.heard == {task: 0}
    one.reported(task, 1, 0.1, [0.1])
    one.ended(task, "interrupted")
    assert one.ledger.heard == {task: 1}
    assert one.next() == task
    one.ended(task, "complete", 0.1, [0.1])
    assert one.ledger.heard == {}
    one.lost(Lost(task))
    assert one.ledger.heard == {}


# -- what was lost -------------------------------------------------------------------------------------


def with_lost(rule: str, *events: Any) -> Race:
    """Two stages on one fold, both complete, and both found damaged: the second one after the first."""
    race = racing(rule, 1, ("r0-f0",))
    stage, fold = Task("s", "r0-f0"), Task("a", "r0-f0")
    race.apply(Opened("a", 1, "s"))
    for task in (stage, fold):
        for event in (Started(task), Reported(task, 1, 0.5, (0.5,), "segment"), Ended(task, "complete", 0.5)):
            race.apply(event)
    for event in (Lost(stage), Started(stage), *events, Lost(fold)):
        race.apply(event)
    return race


@pytest.mark.parametrize("rule", ["none", "paired", "reserve"])
def test_a_fold_that_is_lost_waits_for_its_first_stage_that_is_being_trained_again(rule: str) -> None:
    race = with_lost(rule)
    assert not isinstance(race.next(), Run)  # it would hand out the first stage a second time
    race.apply(Ended(Task("s", "r0-f0"), "complete", 0.5))
    assert race.next() == Run(Task("a", "r0-f0"))
    again = with_lost(rule)
    again.apply(Resumed())
    assert again.next() == Run(Task("s", "r0-f0"))


@pytest.mark.parametrize("status", ["interrupted", "frozen"])
def test_a_fold_that_is_cut_off_waits_for_its_first_stage_that_is_being_trained_again(status: Status) -> None:
    race, stage, fold = racing("none", 1, ("r0-f0",)), Task("s", "r0-f0"), Task("a", "r0-f0")
    race.apply(Opened("a", 2, "s"))
    for event in (Started(stage), Ended(stage, "complete", 0.5), Started(fold), Lost(stage), Started(stage)):
        race.apply(event)
    race.apply(Ended(fold, status))
    assert not isinstance(race.next(), Run)
    race.apply(Ended(stage, "complete", 0.5))
    assert race.next() == Run(fold)


@pytest.mark.parametrize("rule", ["none", "paired"])
def test_a_fold_that_is_lost_after_its_first_stage_has_failed_fails_with_it(rule: str) -> None:
    race = with_lost(rule, Ended(Task("s", "r0-f0"), "failed"))
    assert race.field.heats[None].state[0, 0] == State.FAILED
    assert [drop.reason for drop in race.decisions()] == ["fold r0-f0 failed"] * (rule != "none")
