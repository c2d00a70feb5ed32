"""What `halving` decides: who goes on, when that is certain, and what a study costs."""

from collections.abc import Callable

import numpy as np
import pytest

from engine.race.events import Ended, Limited, Opened, Reported, Started
from engine.race.halving import LEVELS, Halving, places, rungs
from engine.race.protocol import Freeze, Open, Run, Stop
from engine.race.race import Race
from engine.race.simulate import Simulation
from engine.race.table import Table
from engine.spec import race as spec
from engine.task import Task

FOLDS = ("r0-f0", "r0-f1", "r0-f2")


def table_of(seed: int, configs: int = 30, folds: int = 3, epochs: int = 9) -> Table:
    rng = np.random.default_rng(seed)
    level = rng.normal(0.6, 0.1, (configs, 1, 1)) + rng.normal(0, 0.02, (configs, folds, 1))
    rise = 1 - np.exp(-np.arange(1, epochs + 1) * rng.uniform(0.2, 0.8, (configs, 1, 1)))
    scores = np.maximum.accumulate(level * rise + rng.normal(0, 0.01, (configs, folds, epochs)), axis=2)
    return Table("drawn", scores, scores[:, :, -1].mean(1), rng.uniform(0.5, 2, configs))


def study(table: Table, slots: int = 1, **more: float) -> tuple[Race, Simulation]:
    settings = spec.Race.model_validate({"rule": "halving", "audit": 0.0, **more})
    race = Race(settings, table.folds, len(table.scores), learns=False)
    return race, Simulation(table, race, list(range(len(table.scores))), slots).run()


def drive(
    race: Race,
    score: Callable[[str, str, int], float],
    epochs: Callable[[int], int] = lambda row: 9,
    fails: frozenset[Task] = frozenset(),
    unfit: str = "",
) -> list[Task]:
    """One worker trains what the race asks for; tasks in the order in which they were started."""
    reached: dict[Task, int] = {}
    started = []
    while isinstance(step := race.next(), Open | Run):
        if isinstance(step, Open):
            count = len(race.field.configs)
            race.apply(Opened(f"c{count:02d}", epochs(count)))
        else:
            started.append(step.task)
            race.apply(Started(step.task))
            _train(race, step.task, score, epochs(race.field.rows[step.task.key]), reached, fails, unfit)
    return started


def _train(
    race: Race,
    task: Task,
    score: Callable[[str, str, int], float],
    last: int,
    reached: dict[Task, int],
    fails: frozenset[Task],
    unfit: str,
) -> None:
    while True:
        epoch = reached[task] = reached.get(task, 0) + 1
        if task in fails and epoch > 1:
            return _tell(race, Ended(task, "failed"))
        _tell(race, Reported(task, epoch, score(task.key, task.fold, epoch)))
        if epoch == last:
            fits = task.key != unfit
            return _tell(race, Ended(task, "complete", score(task.key, task.fold, epoch), fits=fits))
        verdict = race.verdict(task)
        if isinstance(verdict, Stop | Freeze):
            return _tell(race, Ended(task, "stopped" if isinstance(verdict, Stop) else "frozen"))


def _tell(race: Race, event: Reported | Ended) -> None:
    race.apply(event)
    for drop in race.decisions():
        race.apply(drop)


def by_number(config: str, fold: str, epoch: int) -> float:
    """The later a configuration was opened, the better it is; folds differ in how easy they are."""
    return 0.01 * int(config[1:]) + 0.05 * epoch + 0.3 * int(fold[-1])


def race_of(configs: int, learns: bool = False, folds: tuple[str, ...] = FOLDS, **more: object) -> Race:
    settings = spec.Race.model_validate({"rule": "halving", "audit": 0.0, **more})
    return Race(settings, folds, configs, learns=learns)


def test_rungs_grow_by_half_and_places_fall_from_all_to_one():
    assert rungs(1, 30) == (1, 2, 3, 4, 6, 10, 15, 22)
    left = [places(100, age, 16) for age in (1, 2, 4, 8, 16, 32)]
    assert left == [100, 32, 10, 4, 1, 1]


@pytest.mark.parametrize("slots", [3, 16])
def test_the_number_of_workers_changes_neither_the_pick_nor_what_is_spent(slots):
    for seed in range(3):
        table = table_of(seed)
        (one, alone), (many, together) = study(table), study(table, slots)
        assert one.leader() == many.leader()
        assert alone.outcome().spent == together.outcome().spent
        assert together.now < alone.now


def test_what_a_study_costs_does_not_depend_on_its_scores():
    assert len({study(table_of(seed))[1].outcome().spent for seed in range(4)}) == 1


def test_deciding_later_costs_more():
    spent = [study(table_of(0), decided=share)[1].outcome().spent for share in (0.1, 0.3, 1.0)]
    assert spent[0] < spent[1] < spent[2] < 1


def test_everybody_begins_on_the_same_fold():
    started = drive(race_of(12), by_number)
    assert {task.fold for task in started[:12]} == {started[0].fold}
    assert len({task.key for task in started[:12]}) == 12


def test_the_best_of_curves_that_never_cross_is_picked_and_only_it_is_finished():
    race = race_of(12)
    drive(race, by_number)
    assert race.leader() == "c11"
    assert len(race.field.heats[None].complete) == 1


def test_one_that_fails_leaves_its_place_to_the_next():
    race = race_of(12)
    drive(race, by_number, fails=frozenset(Task("c11", fold) for fold in FOLDS[1:]))
    assert race.leader() == "c10"


def test_one_that_breaks_a_bound_leaves_its_place_to_the_next():
    race = race_of(12)
    drive(race, by_number, unfit="c11")
    assert race.leader() == "c10"
    rule = race.rules[None]
    assert isinstance(rule, Halving)
    assert np.isnan(rule.marks[:, 11]).all()


def test_a_fold_counts_by_the_epochs_that_it_was_trained_for():
    race = race_of(1, folds=FOLDS[:2])
    race.apply(Opened("c00", 9))
    for fold, epochs, score in (("r0-f0", 9, 0.9), ("r0-f1", 1, 0.1)):
        race.apply(Started(Task("c00", fold)))
        for epoch in range(1, epochs + 1):
            race.apply(Reported(Task("c00", fold), epoch, score))
        if epochs == 9:
            race.apply(Ended(Task("c00", fold), "complete", score))
    rule = race.rules[None]
    assert isinstance(rule, Halving)
    last = int(rule.passed[0]) - 1
    assert rungs(1, 18)[last] == 10
    assert rule.marks[last, 0] == pytest.approx((9 * 0.9 + 1 * 0.1) / 10)


def test_all_workers_take_folds_of_the_last_one_left():
    race = race_of(1)
    race.apply(Opened("c00", 9))
    taken = []
    while isinstance(step := race.next(), Run):
        taken.append(step.task.fold)
        race.apply(Started(step.task))
    assert sorted(taken) == sorted(FOLDS)


def test_what_is_audited_is_trained_without_being_frozen_again():
    race = race_of(4, audit=1.0)
    started = drive(race, by_number)
    finished = max(at for at, task in enumerate(started) if task.key == "c03")
    rest = started[finished + 1 :]
    assert {task.key for task in rest} == {"c00", "c01", "c02"}
    assert len(rest) == len(set(rest))


def test_a_sampler_that_learns_is_told_at_once_and_of_all():
    race = race_of(12, learns=True)
    drive(race, lambda config, fold, epoch: -by_number(config, fold, 0) + 0.05 * epoch)
    heat = race.field.heats[None]
    assert race.leader() == "c00"
    assert not len(heat.alive())
    assert heat.reached[1:12].sum() < heat.epochs[1:12].sum()


def test_configurations_may_differ_in_their_epochs():
    race = race_of(12, decided=1.0)
    drive(race, by_number, epochs=lambda row: 5 + row)
    assert race.leader() is not None
    assert not len(race.field.heats[None].alive())


def test_each_outer_fold_has_its_own_ladder():
    folds = ("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1")
    race = race_of(8, folds=folds)
    drive(race, lambda config, fold, epoch: (1 if fold[:2] == "o0" else -1) * int(config[1:]) + 0.1 * epoch)
    assert (race.leader("o0"), race.leader("o1")) == ("c07", "c00")


def test_no_fold_is_judged_before_its_first_rung():
    race = race_of(6, min_epochs=4)
    drive(race, by_number)
    assert race.field.heats[None].reached[:6].max(axis=1).min() == 4


def test_a_study_that_is_extended_goes_on_from_where_it_was():
    race = race_of(6)
    drive(race, by_number)
    race.apply(Limited(12))
    drive(race, by_number)
    assert race.leader() == "c11"


def test_forecasts_see_as_many_levels_whatever_the_epochs():
    rule = race_of(1).rules[None]
    assert {len(rule.levels(epochs)) for epochs in (1, 9, 100, 3000)} == {LEVELS}
