"""Picking rules on small tables whose answer is worked by hand, and the pieces they are made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume
from scipy import stats

from engine import picking
from engine.errors import SonotuneError
from engine.picking import Evidence
from engine.results import FoldResult
from engine.spec.select import Select
from engine.storage import LocalStorage
from reports import choose, nested, pareto
from reports.aggregate import figures
from reports.load import load
from reports.run import Config, Run
from tests.runs import Plan, make_run, rewrite

SCORES = np.array([[0.80, 0.82, 0.84], [0.79, 0.83, 0.85], [0.81, 0.81, 0.81], [0.60, 0.61, 0.62]])
EVIDENCE = Evidence(SCORES, np.stack([SCORES, SCORES]), np.array([5e6, 9e6, 1e6, 1e3]), 0.25, 0.95)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [("best_mean", 1), ("one_se", 2), ("lower_bound", 2), ("median_rank", 1), ("pareto", 1)],
)
def test_a_rule_picks_what_its_definition_says(rule: str, wanted: int) -> None:
    assert int(picking.RULES[rule](EVIDENCE)) == wanted


@pytest.mark.parametrize("rule", list(picking.RULES))
def test_a_rule_over_leading_axes_is_the_rule_on_each(rule: str) -> None:
    rng = np.random.default_rng(0)
    scores, several = rng.random((7, 5, 3)), rng.random((7, 2, 5, 3))
    whole = picking.RULES[rule](Evidence(scores, several, np.arange(5.0), 0.25, 0.95))
    each = [
        picking.RULES[rule](Evidence(s, m, np.arange(5.0), 0.25, 0.95))
        for s, m in zip(scores, several, strict=True)
    ]
    assert whole.tolist() == [int(one) for one in each]


def test_one_standard_error_never_takes_what_lies_below_the_floor() -> None:
    floor = SCORES[1].mean() - stats.sem(SCORES[1])
    assert picking.one_se_floor(EVIDENCE)[0] == pytest.approx(floor)
    assert SCORES[2].mean() >= floor > SCORES[3].mean()


def test_the_lower_bound_uses_the_corrected_error() -> None:
    std, n = SCORES[0].std(ddof=1), 3
    expected = SCORES[0].mean() - stats.t.ppf(0.975, n - 1) * std * np.sqrt(1 / n + 0.25)
    assert picking.lower_bounds(EVIDENCE)[0] == pytest.approx(expected)


def test_of_equally_cheap_ones_within_one_error_the_best_is_taken() -> None:
    evidence = replace(EVIDENCE, cost=np.array([1e6, 1e6, 9e6, 1e6]))
    assert SCORES.mean(axis=1) == pytest.approx([0.82, 0.8233, 0.81, 0.61], abs=1e-4)
    assert int(picking.one_se(evidence)) == 1


def test_an_error_without_a_known_ratio_is_the_plain_one() -> None:
    assert picking.corrected_error(np.array(0.1), np.array(4), np.nan) == pytest.approx(0.05)


def test_equal_values_share_their_rank() -> None:
    several = np.array([[[0.9], [0.7], [0.7], [0.1]]])
    ranks = picking.median_ranks(replace(EVIDENCE, several=several))
    assert ranks.tolist() == [1.0, 2.5, 2.5, 4.0]


def test_of_equal_median_ranks_the_better_mean_score_is_taken() -> None:
    several = np.array([[[0.9, 0.8, 0.1], [0.8, 0.9, 0.2]]])
    scores = np.array([[0.6, 0.5, 0.5], [0.6, 0.6, 0.5]])
    evidence = Evidence(scores, several, np.ones(2), 0.25, 0.95)
    assert picking.median_ranks(evidence).tolist() == [2.0, 1.0]
    level = replace(evidence, several=several[..., :2])
    assert picking.median_ranks(level).tolist() == [1.5, 1.5]
    assert int(picking.median_rank(level)) == 1


def test_an_undefined_score_is_never_the_best() -> None:
    scores = SCORES.copy()
    scores[1, 0] = np.nan
    for rule in ("best_mean", "one_se", "lower_bound"):
        assert int(picking.RULES[rule](replace(EVIDENCE, scores=scores))) != 1


def test_an_undefined_metric_is_ranked_last_and_leaves_the_others_their_ranks() -> None:
    several = np.array([[[0.5, 0.5], [np.nan, 0.1], [0.9, 0.9]]])
    evidence = Evidence(several[0], several, np.zeros(3), 0.2, 0.95)
    assert picking.median_ranks(evidence).tolist() == [2.0, 3.0, 1.0]
    assert int(picking.median_rank(evidence)) == 2


@pytest.mark.parametrize("rule", ["pareto", "median_rank"])
def test_an_outer_fold_is_picked_by_score_where_the_search_lacks_a_metric_of_the_rule(rule: str) -> None:
    known = ("dice", "f1_macro")
    assert picking.outer_rule(Select(rule=rule, metrics=["dice", "iou"]), known) == "best_mean"
    assert picking.outer_rule(Select(rule=rule), ()) == "best_mean"
    assert picking.outer_rule(Select(rule=rule), known) == rule


def test_one_whose_metric_is_undefined_does_not_change_the_knee() -> None:
    several = np.array([[0.70, 0.75, 0.80, 0.90], [-2.0, -10.0, -30.0, np.nan]])[..., None].repeat(2, axis=-1)
    for count in (3, 4):
        part = several[:, :count]
        assert int(picking.pareto(Evidence(part[0], part, np.zeros(count), 0.2, 0.95))) == 1
    assert picking.front(several.mean(-1).T).tolist() == [True, True, True, False]
    assert picking.front(np.array([[1.0, np.nan], [0.5, np.nan]])).tolist() == [True, False]


def test_the_front_is_optunas() -> None:
    points = np.random.default_rng(1).random((60, 2))
    study = optuna.create_study(directions=["maximize", "maximize"])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=point.tolist()))
    theirs = {t.number for t in study.best_trials}
    assert set(np.flatnonzero(picking.front(points))) == theirs


@pytest.mark.parametrize("metrics", [2, 3])
def test_the_hypervolume_is_optunas(metrics: int) -> None:
    points = np.random.default_rng(2).random((25, metrics))
    theirs = compute_hypervolume(-points, np.zeros(metrics))
    assert pareto.hypervolume(points, np.zeros(metrics)) == pytest.approx(theirs)


def test_every_reason_names_the_pick_and_a_number(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=5))))
    known = figures(run)
    for rule in picking.RULES:
        pick = choose.choose(run, known, Select.model_validate({"rule": rule}))
        assert pick is not None
        assert pick.config_id in pick.reason
        assert any(letter.isdigit() for letter in pick.reason.replace(pick.config_id, ""))


def test_what_breaks_a_constraint_is_not_picked(tmp_path: Path) -> None:
    plan = Plan(configs=4, quality=(0.3, 0.9, 0.5, 0.4), search={"constraints": {"parameters": 100_000}})
    run = load(str(make_run(tmp_path / "run", plan)))
    fit = choose.eligible(run, figures(run))
    assert all(run.by_id[c].config["model"]["width"] == 8 for c in fit.configs)
    assert run.configs[1].id not in fit.configs


def test_an_unknown_metric_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=2))))
    with pytest.raises(SonotuneError, match=r"'dicee'.*dice"):
        choose.choose(run, figures(run), Select(rule="pareto", metrics=("dicee",)))


def test_an_audited_configuration_that_ends_best_is_picked(tmp_path: Path) -> None:
    from engine.journal.journal import Journal
    from engine.storage import open_storage

    folder = make_run(tmp_path / "run", Plan(configs=3, quality=(0.4, 0.9, 0.5)))
    best = load(str(folder)).configs[1].id
    with Journal(open_storage(str(folder))) as journal:
        journal.append({"event": "dropped", "config": best, "reason": "P < 0.1", "audited": True})
        journal.commit()
    run = load(str(folder))
    pick = choose.choose(run, figures(run), Select())
    assert pick is not None
    assert pick.config_id == best


def test_a_diverged_fold_keeps_its_configuration_from_being_picked(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=3, quality=(0.4, 0.9, 0.5)))
    best = load(str(folder)).configs[1].id
    rewrite(folder, best, "r0-f2", status="diverged")
    run = load(str(folder))
    pick = choose.choose(run, figures(run), Select())
    assert pick is not None
    assert pick.config_id != best


def test_an_outer_fold_is_picked_for_by_its_own_inner_folds_alone() -> None:
    """Also of the second and the eleventh one, whose names begin alike."""
    folds = ("o1-r0-f0", "o10-r0-f0")

    def config(name: str, *scores: float) -> Config:
        ended = [
            FoldResult(name, fold, "complete", {}, (), "", score=score)
            for fold, score in zip(folds, scores, strict=True)
        ]
        return Config(name, {}, "complete", {result.fold: result for result in ended})

    configs = (config("a", 0.9, 0.1), config("b", 0.5, 0.9))
    run = Run("", LocalStorage(Path()), "", {}, {}, {}, (), folds, (), configs, ())
    assert [nested.inner_pick(run, Select(), outer) for outer in ("o1", "o10")] == ["a", "b"]
