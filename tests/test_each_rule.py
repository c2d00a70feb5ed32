"""What single rules of the race decide, looked at one by one."""

import numpy as np
import pytest

from engine.race.asha import Asha
from engine.race.heat import State
from engine.race.none import Setting, TrainAll
from engine.race.reserve import Reserve
from engine.race.rules import RULES
from engine.race.stopper import Marks
from engine.race.thaw import Thaw
from engine.spec import race as spec


def rule_of(name: str, folds: int = 1, **more: float) -> TrainAll:
    settings = spec.Race.model_validate({"rule": name, **more})
    return RULES[name](settings, Setting(tuple(f"r0-f{k}" for k in range(folds))))


def marks(scores: dict[int, float]) -> Marks:
    found = Marks()
    for row, score in scores.items():
        found.add(row, score)
    return found


def test_marks_are_kept_for_as_many_rows_as_come() -> None:
    heat = rule_of("median").heat
    rows = [heat.open(1) for _ in range(60)]
    seen = marks({row: float(row) for row in rows[::2]})
    heat.rule_out(4)
    assert seen.of_rivals(2, heat).tolist() == [0.0, *(float(row) for row in range(6, 60, 2))]


def test_what_breaks_a_bound_sets_no_bar_for_others_at_a_rung():
    rule = rule_of("asha", eta=2.0)
    assert isinstance(rule, Asha)
    for _ in range(4):
        rule.heat.open(9)
    rule.heat.rule_out(0)
    for score, judged in ((0.26, False), (0.24, True)):
        rule.rungs[0] = marks({0: 0.9, 1: 0.2, 2: 0.3})
        assert bool(rule._judge(3, 0, score)) == judged


@pytest.mark.parametrize(("score", "judged"), [(0.3, True), (0.35, False)])
def test_one_in_eta_goes_on_from_a_rung_and_not_all_but_one(score, judged):
    rule = rule_of("asha", eta=4.0)
    assert isinstance(rule, Asha)
    for _ in range(5):
        rule.heat.open(9)
    rule.rungs[0] = marks({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert bool(rule._judge(4, 0, score)) == judged


@pytest.mark.parametrize("name", ["aggressive", "forgiving"])
def test_what_broke_a_bound_with_its_last_fold_sets_no_bar_for_others(name):
    """Such as a latency that only the slowest fold exceeds, or what the user asked for first."""
    rule = rule_of(name, folds=2)
    large, row = rule.heat.open(1), rule.heat.open(1)
    for fold in (0, 1):
        rule.heat.finish(large, fold, (0.9,))
    rule.heat.finish(row, 0, (0.5,))
    assert rule.drops(row, 0)
    rule.heat.rule_out(large)
    assert rule.drops(row, 0) == []


def test_a_configuration_is_no_rival_of_its_own_other_folds():
    rule = rule_of("median", folds=2, warmup=1)
    rival, row = rule.heat.open(1), rule.heat.open(1)
    for fold in (0, 1):
        rule.heat.finish(rival, fold, (0.5,))
        rule.drops(rival, fold)
    rule.ages = {(0, 1): marks({rival: 0.5})}  # type: ignore[attr-defined]
    for fold, score in ((0, 0.9), (1, 0.6)):  # both under way, each its first
        rule.heat.report(row, fold, 1, (score,))
        assert rule.drops(row, fold) == []


def test_nobody_is_below_the_median_of_fewer_than_the_warmup_of_others_or_before_as_many_are_complete():
    rule = rule_of("median", folds=2, warmup=2)
    rows = [rule.heat.open(1) for _ in range(3)]
    rule.heat.finish(rows[2], 0, (0.1,))

    def judged(complete: list[int], there: dict[int, float]) -> bool:
        rule.heat.complete = complete
        rule.ages = {(0, rule.heat.depth[rows[2], 0]): marks(there)}  # type: ignore[attr-defined]
        return bool(rule.drops(rows[2], 0))

    assert judged(rows[:2], {0: 0.5, 1: 0.6})
    assert not judged(rows[:2], {0: 0.5})
    assert not judged(rows[:1], {0: 0.5, 1: 0.6})


@pytest.mark.parametrize(
    ("rule", "score", "told"),
    [("aggressive", 0.6, ["mean of 1 fold below the best's mean"]), ("aggressive", 0.7, []),
     ("forgiving", 0.4, ["mean of 1 fold below the best's worst fold"]), ("forgiving", 0.6, [])],
)  # fmt: skip
def test_a_forgiving_rule_measures_by_the_worst_fold_of_the_best_and_says_so(rule, score, told):
    made = rule_of(rule, folds=2)
    best, row = made.heat.open(1), made.heat.open(1)
    made.heat.finish(best, 0, (0.5,))
    made.heat.finish(best, 1, (0.9,))
    made.heat.finish(row, 0, (score,))
    assert [reason for _, reason in made.drops(row, 0)] == told


@pytest.mark.parametrize(("name", "wanted"), [("paired", 3), ("thaw", 1), ("reserve", 1)])
def test_beliefs_drop_nobody_before_so_many_configurations_are_complete(name, wanted):
    rule = rule_of(name, warmup=3)
    rule.forecast.fits = 1  # learned
    ripe = []
    for _ in range(4):
        ripe.append(rule.ripe)  # type: ignore[attr-defined]
        rule.heat.finish(rule.heat.open(1), 0, (0.5,))
    assert ripe == [count >= wanted for count in range(4)]


@pytest.mark.parametrize(("fresh", "ended"), [(0.1, False), (-np.inf, True)])
def test_a_study_is_not_decided_while_another_configuration_may_enter_and_be_worth_it(
    fresh, ended, monkeypatch
):
    rule = rule_of("reserve")
    assert isinstance(rule, Reserve)
    rule.forecast.fits = 1  # learned
    rule.heat.finish(rule.heat.open(9), 0, (0.9,))
    row = rule.heat.open(9)
    monkeypatch.setattr(rule, "hopeless", lambda rows: np.ones(len(rows), dtype=bool))
    monkeypatch.setattr(rule, "fresh", lambda: fresh)
    assert (rule.drops(0, 0) == [(row, "the study is decided")]) == ended
    rule.may_open = False
    assert rule.drops(0, 0) == [(row, "the study is decided")]


def test_what_is_only_frozen_may_come_back_so_it_takes_more_to_tell_a_sampler_that_it_is_out(monkeypatch):
    rule = rule_of("thaw", delta=0.1)
    assert isinstance(rule, Thaw)
    monkeypatch.setattr(rule, "chance", lambda rows: np.array([0.005, 0.02]))
    assert rule.hopeless(np.array([0, 1])).tolist() == [True, False]


@pytest.mark.parametrize("audited", [False, True])
def test_an_audited_fold_keeps_its_worker_whatever_is_worth_more(audited, monkeypatch):
    rule = rule_of("reserve")
    row = rule.heat.open(9)
    rule.heat.move(row, 0, State.RUNNING)
    rule.heat.drop(row, audited)
    rule.forecast.fits = 1  # learned
    monkeypatch.setattr(rule, "choose", lambda may_open: "open")
    assert rule.freezes(row, 0) == (not audited)


def test_what_is_all_but_in_hand_is_the_least_that_a_worker_takes_up():
    rule = rule_of("reserve")
    assert isinstance(rule, Reserve)
    rows = [rule.heat.open(9) for _ in range(2)]
    rule.forecast.mean = np.array([0.8, 0.6])
    assert rule.floor() == pytest.approx(0.8)
    rule.heat.finish(rows[1], 0, (0.7,))
    assert rule.floor() == pytest.approx(0.8 - 0.7)
    rule.forecast.mean = np.array([0.6, 0.7])
    assert rule.floor() == 0.0
