"""What each rule decides, and what holds for all of them."""

import numpy as np
import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.race.events import Dropped, Ended, Event, Opened, Reported, Started, from_record, to_record
from engine.race.forecast import COLUMNS
from engine.race.heat import State
from engine.race.none import Setting
from engine.race.outcome import outcome
from engine.race.peers import PEERS
from engine.race.protocol import Done, Open, Run, Stop, Wait
from engine.race.race import Race
from engine.race.rules import RULES
from engine.race.simulate import Simulation
from engine.race.table import Table
from engine.race.wilcoxon import p_worse
from engine.spec import race as spec
from engine.task import Task

STOPPING = [name for name in RULES if name != "none"]


def table_of(seed: int, configs: int = 24, folds: int = 3, epochs: int = 9) -> Table:
    """Curves that rise to a configuration's own level, with noise of the fold and of the epoch."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.6, 0.1, (configs, 1, 1)) + rng.normal(0, 0.02, (configs, folds, 1))
    rise = 1 - np.exp(-np.arange(1, epochs + 1) * rng.uniform(0.2, 0.8, (configs, 1, 1)))
    scores = np.maximum.accumulate(level * rise + rng.normal(0, 0.01, (configs, folds, epochs)), axis=2)
    return Table("drawn", scores, scores[:, :, -1].mean(1), np.ones(configs))


class Recorder(Race):
    """A race that keeps what it was told."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.told: list[Event] = []

    def apply(self, event: Event) -> None:
        super().apply(event)
        self.told.append(event)


def study(
    rule: str, seed: int, slots: int = 2, learns: bool = True, **more: float
) -> tuple[Recorder, Simulation]:
    table = table_of(seed)
    choice = spec.Race.model_validate({"rule": rule, "audit": 0.0, **more})
    race = Recorder(choice, table.folds, len(table.scores), seed=seed, learns=learns)
    order = np.random.default_rng(seed).permutation(len(table.scores)).tolist()
    return race, Simulation(table, race, order, slots).run()


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("slots", [1, 5])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_ends_with_a_pick_that_has_all_folds(rule, slots, learns):
    race, simulation = study(rule, 1, slots, learns)
    pick = race.leader()
    assert pick is not None
    assert (race.field.heats[None].state[race.field.rows[pick]] == State.COMPLETE).all()
    assert simulation.outcome().regret < 3


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_reaches_the_end_of_folds_of_many_epochs(rule: str) -> None:
    table = table_of(3, configs=4, epochs=150)
    race = Recorder(spec.Race(rule=rule, audit=0.0), table.folds, 4)
    outcome = Simulation(table, race, [0, 1, 2, 3], 1).run().outcome()
    assert race.leader() is not None
    assert 0 < outcome.spent <= 1.01


@pytest.mark.parametrize("rule", ["paired", "thaw", "reserve"])
def test_a_rule_that_acts_on_beliefs_looks_no_more_often_than_beliefs_can_follow(rule: str) -> None:
    table = table_of(3, configs=6, folds=2, epochs=40)
    race = Race(spec.Race(rule=rule, audit=0.0, looks=COLUMNS), table.folds, 6)
    assert Simulation(table, race, range(6), 1).run().outcome().complete > 0
    with pytest.raises(ValidationError):
        spec.Race(rule=rule, looks=COLUMNS + 1)


# with three folds the smallest p of the signed-rank test is 0.125: `wilcoxon` can drop nothing
@pytest.mark.parametrize("rule", [rule for rule in STOPPING if rule != "wilcoxon"])
def test_every_rule_spends_less_than_training_everything(rule):
    _, simulation = study(rule, 2, learns=False)
    assert simulation.outcome().spent < 1


@pytest.mark.parametrize("rule", RULES)
def test_the_same_journal_gives_the_same_decisions(rule):
    race, _ = study(rule, 3, slots=3, audit=0.3)
    again = Race(race.settings, race.field.heats[None].folds, race.limit, seed=3)
    for event in race.told:
        if isinstance(event, Dropped):
            assert again.decisions()[0] == event
        again.apply(from_record(to_record(event)))
    assert again.next() == race.next()
    assert again.leader() == race.leader()


@pytest.mark.parametrize("rule", ["paired", "thaw", "reserve", "asha", "halving"])
def test_a_race_replayed_to_any_point_goes_on_as_if_never_interrupted(rule):
    race, _ = study(rule, 4, slots=1)
    rng = np.random.default_rng(0)
    for cut in rng.integers(1, len(race.told), 6):
        again = Race(race.settings, race.field.heats[None].folds, race.limit, seed=4)
        for event in race.told[:cut]:
            again.apply(event)
        following = race.told[cut]
        if again.decisions():
            assert following == again.decisions()[0]
        elif isinstance(following, Opened):
            assert again.next() == Open()
        elif isinstance(following, Started):
            assert again.next() == Run(following.task)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from(list(RULES)), slots=st.integers(1, 6))
@example(seed=9793, rule="aggressive", slots=3)  # dropped while its other folds are in their last epoch
def test_a_drop_is_never_undone_and_never_picked_unless_audited(seed, rule, slots):
    race, _ = study(rule, seed, slots, learns=bool(seed % 2))
    dropped: set[str] = set()
    for event in race.told:
        if isinstance(event, Dropped):
            dropped.add(event.config)
        if isinstance(event, Started):
            assert event.task.key not in dropped
    assert race.leader() not in dropped


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from(list(RULES)))
def test_what_is_below_another_complete_one_on_every_fold_is_never_picked_over_it(seed, rule):
    race, _ = study(rule, seed, slots=3, learns=False)
    heat, pick = race.field.heats[None], race.field.rows[race.leader() or ""]
    final = heat.best[: heat.count, :, 0]
    for row in heat.complete:
        assert not (final[row] > final[pick]).all()


@pytest.mark.parametrize("rule", STOPPING)
def test_a_failed_fold_takes_its_configuration_out_at_once(rule):
    race = Race(spec.Race.model_validate({"rule": rule, "audit": 1.0}), ("r0-f0", "r0-f1"), 2)
    race.apply(Opened("a", 9))
    race.apply(Started(Task("a", "r0-f0")))
    race.apply(Started(Task("a", "r0-f1")))
    race.apply(Ended(Task("a", "r0-f0"), "diverged"))
    (drop,) = race.decisions()
    assert (drop.config, drop.audited) == ("a", False)
    race.apply(drop)
    assert isinstance(race.verdict(Task("a", "r0-f1")), Stop)
    assert race.next() == Open()


def test_what_is_audited_is_trained_no_further_once_a_fold_of_it_has_failed():
    folds = ("r0-f0", "r0-f1", "r0-f2")
    race = Race(spec.Race(rule="aggressive", audit=1.0), folds, 2)
    for config, score in (("a", 0.9), ("b", 0.1)):
        race.apply(Opened(config, 1))
        for fold in folds if config == "a" else folds[1:2]:
            race.apply(Started(Task(config, fold)))
            race.apply(Ended(Task(config, fold), "complete", score))
    (drop,) = race.decisions()
    assert drop.audited
    race.apply(drop)
    task = race.next().task  # type: ignore[union-attr]
    race.apply(Started(task))
    race.apply(Ended(task, "failed"))
    assert isinstance(race.next(), Done)


@pytest.mark.parametrize("rule", ["aggressive", "paired", "reserve", "halving"])
def test_audited_ones_are_finished_and_counted(rule):
    _, simulation = study(rule, 5, slots=2, learns=False, audit=1.0)
    outcome = simulation.outcome()
    assert outcome.audited == sum(drop.audited for drop in simulation.decisions) > 0
    assert 0 <= outcome.audit_wrong <= outcome.audited


@pytest.mark.parametrize("learns", [True, False])
def test_folds_of_one_configuration_run_side_by_side_only_where_there_is_no_other_work(learns):
    """What its first fold shows may save the others; a sampler that learns is asked as late as can be."""
    race = Race(spec.Race(rule="aggressive", audit=0.0), ("r0-f0", "r0-f1"), 2, learns=learns)
    race.apply(Opened("a", 1))
    race.apply(Started(Task("a", "r0-f0")))
    other = Run(Task("a", "r0-f1"))
    assert race.next() == (other if learns else Open())
    race.apply(Opened("b", 1))
    race.apply(Started(Task("b", "r0-f1")))
    assert race.next() == other


@pytest.mark.parametrize("epochs", [1, 2])
def test_nothing_is_dropped_once_its_last_epoch_is_trained_and_only_its_scoring_is_left(epochs):
    race = Race(spec.Race(rule="median", audit=0.0, warmup=1), ("r0-f0",), 2, learns=False)
    for config, score in (("a", 0.9), ("b", 0.1)):
        race.apply(Opened(config, epochs))
        race.apply(Started(Task(config, "r0-f0")))
        race.apply(Reported(Task(config, "r0-f0"), 1, score))
        if config == "a":
            race.apply(Ended(Task(config, "r0-f0"), "complete", score))
    assert [drop.config for drop in race.decisions()] == ([] if epochs == 1 else ["b"])


@pytest.mark.parametrize("rule", ["paired", "thaw"])
def test_whoever_tolerates_that_a_lost_one_is_better_pays_less(rule):
    spent = [study(rule, 3, learns=False, tolerance=t)[1].outcome().spent for t in (0.0, 3.0)]
    assert spent[1] < spent[0]


def audited(seed: int, configs: int = 200) -> set[str]:
    """The first is the best; all others are dropped after their first fold."""
    settings = spec.Race(rule="aggressive", audit=0.3)
    race, drops = Race(settings, ("r0-f0", "r0-f1"), configs, seed=seed, learns=False), []
    for number in range(configs):
        race.apply(Opened(f"c{number}", 1))
        for fold in ("r0-f0", "r0-f1")[: 1 if number else 2]:
            race.apply(Started(Task(f"c{number}", fold)))
            race.apply(Ended(Task(f"c{number}", fold), "complete", 0.1 if number else 0.9))
        if (drop := race.decision()) is not None:
            race.apply(drop)
            drops.append(drop)
    assert len(drops) == configs - 1
    return {drop.config for drop in drops if drop.audited}


def test_the_share_that_is_audited_is_as_wide_as_asked_for_and_drawn_by_the_seed():
    drawn = [audited(seed) for seed in (0, 1)]
    assert [0.2 < len(names) / 199 < 0.4 for names in drawn] == [True, True]
    assert drawn[0] != drawn[1]
    assert drawn[0] == audited(0)


@pytest.mark.parametrize("wanted", [False, True])
def test_what_breaks_a_bound_is_not_audited_but_trained_on_where_the_user_asked_for_it(wanted):
    race = Race(spec.Race(rule="aggressive", audit=1.0), ("r0-f0", "r0-f1"), 2)
    race.apply(Opened("a", 3, first=wanted))
    race.apply(Started(Task("a", "r0-f0")))
    race.apply(Reported(Task("a", "r0-f0"), 1, 0.5, fits=False))
    drop = race.decision()
    assert drop is not None
    assert drop.audited == wanted


def test_an_audited_configuration_that_ends_best_is_picked():
    folds = ("r0-f0", "r0-f1")
    race = Race(spec.Race(rule="aggressive", audit=1.0), folds, 2)
    for config, scores in (("a", (0.5, 0.5)), ("b", (0.4, 0.9))):
        assert race.next() == Open()
        race.apply(Opened(config, 1))
        for _ in folds:
            task = race.next().task  # type: ignore[union-attr]
            race.apply(Started(task))
            race.apply(Ended(task, "complete", scores[folds.index(task.fold)]))
            for drop in race.decisions():
                race.apply(drop)
    assert race.leader() == "b"


@pytest.mark.parametrize("rule", ["paired", "thaw", "reserve"])
def test_several_objectives_race_together(rule):
    race = Race(spec.Race.model_validate({"rule": rule}), ("r0-f0", "r0-f1"), 6, objectives=2, learns=False)
    rng, names = np.random.default_rng(0), iter("abcdef")
    for _ in range(2000):
        step = race.next()
        if isinstance(step, Open):
            race.apply(Opened(next(names), 4))
        elif isinstance(step, Run):
            race.apply(Started(step.task))
            _train(race, step.task, rng)
        else:
            break
    assert not isinstance(step, Wait)
    assert race.leader() is not None
    told = race.posterior("a")  # what a sampler hears of it: each objective, and not their mean
    assert told == pytest.approx((0.0 + 0.4, 1.0), abs=0.2)


def _train(race: Race, task: Task, rng: np.random.Generator) -> None:
    good = (ord(task.key) - ord("a")) / 10
    heat = race.field.heats[None]
    for epoch in range(int(heat.reached[race.field.rows[task.key], heat.column[task.fold]]) + 1, 5):
        values = (good + 0.1 * epoch, 1 - good + 0.01 * float(rng.standard_normal()))
        race.apply(Reported(task, epoch, sum(values) / 2, values))
        for drop in race.decisions():
            race.apply(drop)
        if epoch == 4:
            race.apply(Ended(task, "complete", sum(values) / 2, values))
        elif isinstance(race.verdict(task), Stop):
            race.apply(Ended(task, "stopped"))
            return
    for drop in race.decisions():
        race.apply(drop)


def test_nested_outer_folds_race_apart():
    """Good on one outer fold, bad on the other: out there, in here."""
    folds = ("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1")
    race = Race(spec.Race(rule="aggressive", audit=0.0), folds, 2)
    for config, scores in (("a", {"o0": 0.5, "o1": 0.5}), ("b", {"o0": 0.9, "o1": 0.1})):
        assert race.next() == Open()
        race.apply(Opened(config, 1))
        while isinstance(step := race.next(), Run):
            race.apply(Started(step.task))
            race.apply(Ended(step.task, "complete", scores[step.task.fold[:2]]))
            for drop in race.decisions():
                race.apply(drop)
    assert (race.leader("o0"), race.leader("o1")) == ("b", "a")
    assert race.mean("b", "o1") is None
    found = outcome(race, "b")  # over, although it is out of one of them only
    assert found is not None
    assert found.state == "dropped"


@pytest.mark.parametrize("rule", ["thaw", "reserve"])
def test_a_sampler_that_does_not_learn_is_asked_for_every_configuration_before_the_study_ends(rule):
    race, simulation = study(rule, 1, slots=2, learns=False)
    heat = race.field.heats[None]
    assert heat.count == len(simulation.order)
    assert heat.depth[: heat.count].any(axis=1).all()


def test_without_a_limit_the_study_ends_when_no_other_configuration_is_worth_its_price():
    table = table_of(1, configs=300)
    race = Race(spec.Race(rule="reserve", audit=0.0, price=1.0), table.folds, None, learns=False)
    outcome = Simulation(table, race, list(range(300)), 2).run().outcome()
    assert race.leader() is not None
    assert outcome.spent < 0.5


def test_a_fold_of_few_epochs_is_not_looked_at_twice_at_the_same_one():
    levels = RULES["reserve"](spec.Race(), Setting(("r0-f0",))).levels
    assert levels(15).tolist() == [1, 2, 3, 4, 5, 7, 10, 15]
    assert levels(5).tolist() == [1, 2, 3, 4, 5, 5, 5, 5]


def test_the_signed_rank_rule_decides_as_optuna_does():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        difference = rng.normal(-0.3, 1, 5)
        best = np.zeros(5)
        study_ = optuna.create_study(direction="maximize")
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2)
        study_.pruner = pruner
        first = study_.ask()
        for step, value in enumerate(best):
            first.report(float(value), step)
        study_.tell(first, 0.0)
        second = study_.ask()
        for step, value in enumerate(difference):
            second.report(float(value), step)
        ours = difference.mean() < 0 and p_worse(difference) < 0.1
        assert second.should_prune() == ours


def test_the_first_stage_of_two_racing_configurations_is_trained_once():
    race = Race(spec.Race(rule="reserve"), ("r0-f0",), 3, learns=False)
    for config in "abc":
        race.apply(Opened(config, 4, prerequisite="stage"))
    assert race.next() == Run(Task("stage", "r0-f0"))
    race.apply(Started(Task("stage", "r0-f0")))
    assert race.next() == Wait()
    race.apply(Ended(Task("stage", "r0-f0"), "complete"))
    started = []
    for _ in range(3):
        started.append(race.next().task.key)  # type: ignore[union-attr]
        race.apply(Started(Task(started[-1], "r0-f0")))
    assert sorted(started) == ["a", "b", "c"]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.filterwarnings("error::optuna.exceptions.ExperimentalWarning")
def test_peers_run_in_the_same_simulator(peer):
    table = table_of(6, configs=12)
    race = Race(spec.Race(audit=0.0), table.folds, 12, learns=False, make=PEERS[peer])
    outcome = Simulation(table, race, list(range(12)), 2).run().outcome()
    assert 0 < outcome.spent <= 1


@pytest.mark.parametrize("epochs", [5, 30, 100, 130])
def test_a_rule_that_looks_at_every_epoch_is_followed_to_the_end_of_each_fold(epochs: int) -> None:
    race = Race(spec.Race(rule="asha"), ("r0-f0", "r0-f1"), 4, seed=0, learns=True)
    heat, forecast = race.field.heats[None], race.rules[None].forecast
    row = heat.open(epochs)
    for epoch in range(1, epochs + 1):
        heat.report(row, 0, epoch, [epoch / epochs])
    heat.finish(row, 0, [1.0])
    curves, depth = forecast._known(slice(row, row + 1))
    assert depth.tolist() == [[forecast.width, 0]]
    assert curves[0, 0, -1] == 1.0
    assert (np.diff(curves[0, 0]) >= 0).all()
