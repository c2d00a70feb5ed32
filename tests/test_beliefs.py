"""What is expected of a half-trained configuration, and what it is worth to go on with it."""

import numpy as np
import pytest
from scipy import stats

from engine.race.beliefs import Beliefs
from engine.race.climb import by_depth, climb
from engine.race.forecast import FIRST, Forecast
from engine.race.grades import Grades
from engine.race.heat import Heat
from engine.race.shape import FEWEST, REACH, lifted


def test_beliefs_find_the_truth_they_were_drawn_from():
    rng = np.random.default_rng(0)
    shared, own, folds = 0.1, 0.03, 4
    level = rng.normal(0.5, shared, (300, 1, 1)) + rng.normal(0, own, (300, folds, 1))
    curves = level + rng.normal(0, 0.005, (300, folds, 3))
    beliefs = Beliefs(folds, 3)
    for _ in range(5):
        beliefs.learn(curves, np.full((300, folds), 3))
    assert np.sqrt(beliefs.shared[-1, -1]) == pytest.approx(shared, rel=0.15)
    assert beliefs.noise == pytest.approx(np.sqrt(2) * own, rel=0.15)


def test_beliefs_are_calibrated_on_what_they_have_not_seen():
    rng = np.random.default_rng(1)
    level = rng.normal(0.5, 0.1, (200, 1, 1)) + rng.normal(0, 0.03, (200, 5, 1))
    curves = level * np.array([0.3, 0.7, 1.0]) + rng.normal(0, 0.01, (200, 5, 3))
    depth = np.zeros((200, 5), dtype=int)
    depth[:, 0] = 1
    depth[:60] = 3
    beliefs = Beliefs(5, 3)
    for _ in range(5):
        beliefs.learn(curves, depth)
    mean, variance = beliefs.finals(curves[60:], depth[60:])
    z = (curves[60:, :, -1].mean(1) - mean) / np.sqrt(variance)
    assert abs(z.mean()) < 0.25
    assert 0.75 < z.std() < 1.3


def test_what_the_best_came_to_is_not_taken_for_what_all_would_have_come_to():
    """All start on one fold, the best sixty go on: the others' last levels are told from theirs."""
    rng = np.random.default_rng(4)
    over = 0.1**2 * np.array([[1, 1.6, 2.4], [1.6, 4, 6], [2.4, 6, 10]])
    shared = rng.multivariate_normal(np.zeros(3), over, 400)
    curves = np.array([0.2, 0.5, 0.9]) + shared[:, None] + rng.normal(0, 0.02, (400, 4, 3))
    depth = np.zeros((400, 4), dtype=int)
    depth[:, 0] = 1
    depth[np.argsort(-curves[:, 0, 0])[:60], 0] = 3
    beliefs = Beliefs(4, 3)
    for _ in range(3):
        beliefs.learn(curves, depth)
    chosen = curves[depth[:, 0] == 3, 0, 2].mean()
    assert chosen > 1.2
    assert beliefs.effects[:, 2].mean() == pytest.approx(0.9, abs=0.1)
    assert np.sqrt(beliefs.shared[2, 2]) == pytest.approx(np.sqrt(over[2, 2]), rel=0.3)


def test_a_better_start_on_an_easy_fold_is_not_taken_for_a_better_configuration():
    rng = np.random.default_rng(2)
    easy = np.array([0.2, 0.0, 0.0])
    level = rng.normal(0.5, 0.03, (60, 1)) + easy + rng.normal(0, 0.01, (60, 3))
    beliefs = Beliefs(3, 1)
    for _ in range(5):
        beliefs.learn(level[:, :, None], np.ones((60, 3), dtype=int))
    hard, soft = np.full((3, 1), 0.5), np.full((3, 1), 0.5 + 0.2)
    on_hard = beliefs.final(hard, np.array([0, 1, 0]))[0]
    on_easy = beliefs.final(soft, np.array([1, 0, 0]))[0]
    assert on_hard == pytest.approx(on_easy, abs=0.02)


def grade(price: float, spread: float = 0.1, levels: int = 1, folds: int = 1) -> float:
    """Of a configuration of which nothing is known, by the scores of many that are complete."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0.5, spread, (200, 1, 1)) + np.zeros((200, folds, levels))
    beliefs = Beliefs(folds, levels)
    beliefs.learn(scores + rng.normal(0, 0.01, scores.shape), np.full((200, folds), levels))
    return Grades(beliefs, np.arange(1, levels + 1), price).premium((0,) * folds)


def test_a_grade_falls_with_the_price_and_rises_with_the_spread():
    grades = [grade(price) for price in (0.001, 0.01, 0.1)]
    assert grades == sorted(grades, reverse=True)
    assert grade(0.01, spread=0.2) > grade(0.01, spread=0.1)


def test_what_is_known_only_when_it_is_complete_has_the_grade_that_weitzman_gave_it():
    price = 0.02
    premium, spread = grade(price), np.sqrt(grade_variance())
    draws = spread * np.random.default_rng(0).standard_normal(400_000)
    assert np.maximum(draws - premium, 0).mean() == pytest.approx(price, rel=0.05)


def grade_variance() -> float:
    rng = np.random.default_rng(3)
    scores = rng.normal(0.5, 0.1, (200, 1, 1))
    beliefs = Beliefs(1, 1)
    beliefs.learn(scores + rng.normal(0, 0.01, scores.shape), np.full((200, 1), 1))
    return beliefs.variance((0,))


def test_being_able_to_give_up_early_makes_a_configuration_worth_more():
    assert grade(0.01, levels=4, folds=3) > grade(0.12, levels=1, folds=1)


def levels_of(epochs: int) -> np.ndarray:
    return np.array([1, epochs])


def test_few_complete_configurations_leave_more_to_chance():
    forecast = Forecast(Heat(("r0-f0",), levels_of))
    row = np.array([forecast.heat.open(2)])
    forecast.mean, forecast.variance = np.zeros(1), np.ones(1)
    few = forecast.above(row, 3.0)
    forecast.heat.complete = list(range(100))
    assert few == pytest.approx(stats.t.sf(3.0, 3))
    assert forecast.above(row, 3.0) == pytest.approx(stats.t.sf(3.0, 103))


def test_what_is_believed_is_learned_anew_when_known_ones_go_further_however_few_are_new():
    heat = Heat(("r0-f0",), levels_of)
    forecast = Forecast(heat)
    for _ in range(FIRST):
        row = heat.open(2)
        heat.report(row, 0, 1, (0.1 * row,))
        forecast.look(row)
    assert forecast.fits == 1
    heat.report(0, 0, 2, (0.5,))
    assert forecast.look(0)
    assert forecast.fits == 2


def test_folds_are_taken_to_differ_only_as_far_as_several_configurations_say_so():
    apart = []
    for count in (1, 200):
        beliefs = Beliefs(2, 1)
        beliefs.learn(np.tile([[[0.4], [0.6]]], (count, 1, 1)), np.ones((count, 2), dtype=int))
        apart.append(float(np.ptp(beliefs.effects)))
    assert apart[0] < 0.12 < 0.19 < apart[1] < 0.21


def test_without_any_history_a_covariance_is_its_prior():
    prior = np.array([[2.0, 1.0], [1.0, 3.0]])
    learned = climb(by_depth(np.zeros((0, 2)), np.zeros(0, dtype=int)), prior)
    assert learned.covariance == pytest.approx(prior)


def test_a_score_that_lies_far_below_counts_for_no_more_than_a_bound():
    residual = np.array([-100.0, 0.0, 0.0, 1.0, 1.0]).reshape(5, 1, 1)
    known = np.ones((5, 1, 1), dtype=bool)
    assert lifted(residual, known).ravel() == pytest.approx([-REACH * np.sqrt(0.5), 0, 0, 1, 1])
    assert pytest.approx(2.0) == REACH
    few = slice(0, FEWEST - 1)
    assert (lifted(residual[few], known[few]) == residual[few]).all()
