"""What the race promises its driver, whatever the rule."""

import numpy as np
import pytest

from engine.errors import SonotuneError
from engine.race.events import (
    Dropped,
    Ended,
    Limited,
    Lost,
    Opened,
    Reported,
    Resumed,
    Started,
    Stopped,
    from_record,
    to_record,
)
from engine.race.heat import Heat, State
from engine.race.none import ends_only
from engine.race.outcome import Outcome, is_useless, outcome
from engine.race.protocol import Continue, Done, Freeze, Open, Run, Stop, Wait
from engine.race.race import Race
from engine.spec import race as spec
from engine.task import Task

FOLDS = ("r0-f0", "r0-f1", "r0-f2")
EVENTS = [
    Opened("a", 10, "s", True),
    Started(Task("a", "r0-f0")),
    Reported(Task("a", "r0-f0"), 1, 0.5, (0.25, 0.75), "main"),
    Ended(Task("a", "r0-f0"), "complete", 0.5, (0.25, 0.75)),
    Reported(Task("a", "r0-f0"), 1, 0.5, cost=123.0, fits=False),
    Lost(Task("a", "r0-f0")),
    Dropped("a", "because", True, "o1"),
    Stopped("budget"),
    Limited(None),
    Resumed(),
]


def race_of(
    configs: int | None = 2, folds: tuple[str, ...] = FOLDS, rule: str = "none", **more: float
) -> Race:
    return Race(spec.Race.model_validate({"rule": rule, **more}), folds, configs)


def open_one(race: Race, name: str, prerequisite: str | None = None) -> None:
    assert race.next() == Open()
    race.apply(Opened(name, epochs=3, prerequisite=prerequisite))


def start(race: Race) -> Task:
    step = race.next()
    assert isinstance(step, Run)
    race.apply(Started(step.task))
    return step.task


def finish(race: Race, task: Task, score: float = 0.5) -> None:
    race.apply(Reported(task, 3, score))
    race.apply(Ended(task, "complete", score))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_its_record(event):
    again = from_record(to_record(event))
    assert (again, vars(again)) == (event, vars(event))


def test_an_unknown_record_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"opened, started.*got 'jumped'"):
        from_record({"event": "jumped"})


def test_all_folds_of_a_configuration_go_out_before_a_new_one_is_opened():
    race = race_of()
    open_one(race, "a")
    assert [start(race).key for _ in FOLDS] == ["a"] * 3
    open_one(race, "b")


def test_which_fold_starts_rotates():
    race = race_of()
    open_one(race, "a")
    first, *_ = [start(race) for _ in FOLDS]
    open_one(race, "b")
    assert (first.fold, start(race).fold) == ("r0-f0", "r0-f1")


def test_next_asked_twice_answers_the_same():
    race = race_of()
    open_one(race, "a")
    assert race.next() == race.next() == Run(Task("a", "r0-f0"))


def test_a_study_is_done_when_all_folds_have_ended_and_not_before():
    race = race_of(configs=1)
    open_one(race, "a")
    tasks = [start(race) for _ in FOLDS]
    for task in tasks:
        assert race.next() == Wait()
        assert race.mean("a") is None
        finish(race, task, 0.6)
    assert isinstance(race.next(), Done)
    assert race.mean("a") == pytest.approx(0.6)


@pytest.mark.parametrize("status", ["failed", "diverged", "stopped"])
def test_a_configuration_with_a_failed_fold_never_has_a_mean(status):
    race = race_of(configs=1)
    open_one(race, "a")
    first, *others = [start(race) for _ in FOLDS]
    race.apply(Ended(first, status))
    for task in others:
        finish(race, task)
    assert race.mean("a") is None
    assert isinstance(race.next(), Done)


def test_what_failed_is_over_when_its_last_fold_has_left_its_worker():
    race = race_of(configs=1, folds=FOLDS[:2])
    open_one(race, "a")
    first, second = start(race), start(race)
    race.apply(Ended(first, "failed"))
    assert outcome(race, "a") is None
    race.apply(Ended(second, "complete", 0.5))
    assert outcome(race, "a") == Outcome("failed", None)


def test_the_score_is_the_best_epoch_so_far():
    race = race_of(configs=1, folds=("r0-f0",))
    open_one(race, "a")
    task = start(race)
    for epoch, score in enumerate((0.2, 0.9, 0.4), start=1):
        race.apply(Reported(task, epoch, score))
    race.apply(Ended(task, "complete"))
    assert race.mean("a") == pytest.approx(0.9)


def test_a_fold_ends_with_the_objectives_of_its_best_epoch_not_with_the_best_of_each():
    heat = Heat(("r0-f0",), ends_only, channels=3)
    row = heat.open(2)
    heat.report(row, 0, 1, (0.5, 0.9, 0.1))
    heat.report(row, 0, 2, (0.6, 0.4, 0.8))
    heat.finish(row, 0, (0.6, 0.4, 0.8))
    for known in (heat.best[row, 0], heat.curves[row, 0, -1], heat.means[row]):
        assert known == pytest.approx([0.6, 0.4, 0.8])


def test_a_fold_that_is_lost_is_heard_of_from_its_first_epoch_on():
    heat = Heat(("r0-f0",), lambda epochs: np.arange(1, epochs + 1))
    row = heat.open(3)
    for epoch in (1, 2, 3):
        heat.report(row, 0, epoch, (0.9,))
    heat.forget(row, 0)
    assert heat.report(row, 0, 1, (0.4,))
    assert (heat.reached[row, 0], heat.best[row, 0, 0]) == (1, 0.4)
    assert heat.curves[row, 0, :3, 0] == pytest.approx([0.4, np.nan, np.nan], nan_ok=True)


def test_of_frozen_folds_the_one_that_has_come_furthest_goes_on():
    heat = Heat(FOLDS, ends_only)
    row = heat.open(9)
    for fold, epochs in ((0, 2), (1, 5), (2, 3)):
        heat.move(row, fold, State.RUNNING)
        heat.report(row, fold, epochs, (0.5,))
        heat.move(row, fold, State.FROZEN)
    assert heat.next_fold(row) == 1


def test_a_worker_that_dies_gets_its_task_back_first():
    race = race_of()
    open_one(race, "a")
    task = start(race)
    race.apply(Ended(task, "interrupted"))
    assert race.next() == Run(task)


def test_after_a_restart_all_running_tasks_come_first_in_their_order():
    race = race_of()
    open_one(race, "a")
    tasks = [start(race) for _ in range(2)]
    race.apply(Resumed())
    assert [start(race) for _ in range(3)] == [*tasks, Task("a", "r0-f2")]


def test_epochs_told_again_after_a_restart_change_nothing():
    race = race_of(configs=1, folds=("r0-f0",))
    open_one(race, "a")
    task = start(race)
    race.apply(Reported(task, 2, 0.5))
    race.apply(Resumed())
    race.apply(Started(task))
    race.apply(Reported(task, 2, 0.9))
    race.apply(Ended(task, "complete"))
    assert race.mean("a") == pytest.approx(0.5)


def test_a_damaged_result_is_trained_again():
    race = race_of(configs=1)
    open_one(race, "a")
    for task in [start(race) for _ in FOLDS]:
        finish(race, task)
    race.apply(Lost(Task("a", "r0-f1")))
    assert race.mean("a") is None
    finish(race, start(race))
    assert race.mean("a") == pytest.approx(0.5)


def test_a_spent_budget_freezes_what_runs_and_ends_the_study():
    race = race_of()
    open_one(race, "a")
    task = start(race)
    race.apply(Stopped("12 hours are over"))
    assert (race.verdict(task), race.next()) == (Freeze(), Wait())
    race.apply(Ended(task, "frozen"))
    assert race.next() == Done("12 hours are over")


def test_more_configurations_go_on_from_what_was_frozen():
    race = race_of(configs=1)
    open_one(race, "a")
    task = start(race)
    race.apply(Stopped("budget"))
    race.apply(Ended(task, "frozen"))
    race.apply(Limited(2))
    assert start(race) == task
    assert [start(race).key for _ in FOLDS[1:]] == ["a", "a"]
    open_one(race, "b")


def test_a_sampler_with_nothing_left_ends_the_study():
    race = race_of(configs=None)
    assert race.next() == Open()
    race.apply(Limited(0))
    assert isinstance(race.next(), Done)


def test_a_shared_first_stage_is_handed_out_once_and_releases_all_that_wait():
    race = race_of(configs=2, folds=("r0-f0", "r0-f1"))
    open_one(race, "a", "stage")
    stages = [start(race) for _ in range(2)]
    open_one(race, "b", "stage")
    assert stages == [Task("stage", "r0-f0"), Task("stage", "r0-f1")]
    assert race.next() == Wait()
    race.apply(Ended(stages[1], "complete"))
    assert [start(race) for _ in range(2)] == [Task("a", "r0-f1"), Task("b", "r0-f1")]
    assert race.next() == Wait()
    assert race.verdict(stages[0]) == Continue()


def test_a_failed_first_stage_fails_that_fold_of_all_that_need_it():
    race = race_of(configs=2, folds=("r0-f0",))
    open_one(race, "a", "stage")
    race.apply(Ended(start(race), "failed"))
    open_one(race, "b", "stage")
    assert isinstance(race.next(), Done)
    assert race.mean("a") is race.mean("b") is None


def test_a_first_stage_that_dies_is_taken_up_again():
    race = race_of(configs=1, folds=("r0-f0",))
    open_one(race, "a", "stage")
    stage = start(race)
    race.apply(Resumed())
    assert start(race) == stage
    race.apply(Ended(stage, "complete"))
    assert start(race) == Task("a", "r0-f0")


def test_a_lost_first_stage_is_handed_out_once_for_all_that_were_cut_off():
    race, stage = race_of(folds=("r0-f0",)), Task("s", "r0-f0")
    open_one(race, "a", prerequisite="s")
    assert start(race) == stage
    race.apply(Ended(stage, "complete"))
    start(race)
    open_one(race, "b", prerequisite="s")
    start(race)
    race.apply(Resumed())
    race.apply(Lost(stage))
    assert start(race) == stage
    assert race.next() == Wait()


def test_repeats_are_taken_one_after_the_other_each_in_rotation():
    folds = ("r0-f0", "r0-f1", "r1-f0", "r1-f1")
    race = race_of(folds=folds)
    open_one(race, "a")
    assert [start(race).fold for _ in folds] == list(folds)
    open_one(race, "b")
    assert [start(race).fold for _ in folds] == ["r0-f1", "r0-f0", "r1-f1", "r1-f0"]


def test_nested_outer_folds_have_a_mean_each():
    race = race_of(configs=1, folds=("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1"))
    open_one(race, "a")
    for _ in range(4):
        task = start(race)
        finish(race, task, 0.2 if task.fold.startswith("o0") else 0.8)
    assert (race.mean("a", "o0"), race.mean("a", "o1")) == (pytest.approx(0.2), pytest.approx(0.8))


def test_a_drop_that_the_race_did_not_decide_is_refused():
    race = race_of()
    open_one(race, "a")
    with pytest.raises(SonotuneError, match="where the race decides nothing"):
        race.apply(Dropped("a", "a whim"))


def with_a_failed_fold() -> Race:
    race = race_of(rule="aggressive", audit=0)
    open_one(race, "a")
    race.apply(Ended(start(race), "failed"))
    return race


def test_a_journaled_drop_keeps_the_words_of_the_version_that_wrote_it():
    race = with_a_failed_fold()
    race.apply(Dropped("a", "its first fold came to nothing"))
    assert race.reasons == {(None, 0): "its first fold came to nothing"}


@pytest.mark.parametrize("told", [Dropped("b", "x"), Dropped("a", "x", True), Dropped("a", "x", outer="o0")])
def test_a_journaled_drop_is_refused_where_another_was_decided(told):
    with pytest.raises(SonotuneError, match="where the race decides Dropped"):
        with_a_failed_fold().apply(told)


def test_a_report_of_an_unknown_configuration_is_refused():
    with pytest.raises(SonotuneError, match="no opened configuration"):
        race_of().apply(Reported(Task("x", "r0-f0"), 1, 0.5))


def test_objectives_without_their_values_are_refused():
    race = Race(spec.Race(rule="none"), FOLDS, 1, objectives=2)
    open_one(race, "a")
    with pytest.raises(SonotuneError, match="2 objectives"):
        race.apply(Reported(start(race), 1, 0.5))


def test_what_is_trained_to_its_end_is_not_dropped_as_that_would_save_nothing():
    race = race_of(folds=("r0-f0",), rule="aggressive")
    open_one(race, "a")
    task = start(race)
    race.apply(Reported(task, 3, 0.5))
    race.apply(Ended(task, "complete", 0.5, fits=False))
    assert race.decisions() == ()


def test_verdicts_have_reasons():
    assert Stop("why").reason == "why"


@pytest.mark.parametrize("audit", [0.0, 1.0])
def test_what_is_dropped_is_of_no_use_though_folds_of_it_were_never_begun(audit):
    """Its checkpoints go at once; what is audited needs them yet."""
    race = Race(spec.Race(rule="aggressive", audit=audit), ("r0-f0", "r0-f1"), 2, learns=False)
    for config, folds in (("best", ("r0-f0", "r0-f1")), ("poor", ("r0-f0",))):
        race.apply(Opened(config, 1))
        for fold in folds:
            race.apply(Started(Task(config, fold)))
            race.apply(Ended(Task(config, fold), "complete", 0.9 if config == "best" else 0.1))
    drop = race.decision()
    assert drop is not None
    race.apply(drop)
    assert [is_useless(race, config) for config in ("best", "poor")] == [False, not audit]
