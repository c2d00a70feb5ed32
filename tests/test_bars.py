"""What a configuration must reach to be picked, by each rule that picks."""

import numpy as np
import pytest

from engine.race.bars import bars, beaten
from engine.race.heat import Heat
from engine.race.none import ends_only


def heat_of(finals: list[list[float]], costs: list[float], channels: int = 1) -> Heat:
    heat = Heat([f"r0-f{k}" for k in range(len(finals[0]))], ends_only, channels)
    for scores, cost in zip(finals, costs, strict=True):
        row = heat.open(1)
        heat.cost[row] = cost
        for fold, score in enumerate(scores):
            heat.finish(row, fold, [score] * channels)
    return heat


def test_a_cheap_candidate_only_needs_to_come_within_one_standard_error():
    heat = heat_of([[0.7, 0.9], [0.2, 0.2]], costs=[10.0, 20.0])
    cheap, dear, unknown = (heat.open(1) for _ in range(3))
    heat.cost[[cheap, dear]] = 1.0, 30.0
    rows = np.array([cheap, dear, unknown])
    assert bars(heat, rows, "one_se") == pytest.approx([0.7, 0.8, 0.7])
    assert bars(heat, rows, "best_mean") == pytest.approx([0.8, 0.8, 0.8])


def test_a_candidate_as_cheap_as_the_cheapest_needs_to_be_better_than_that_one_only():
    heat = heat_of([[0.7, 0.9], [0.72, 0.74], [0.75, 0.77], [0.1, 0.1]], costs=[10.0, 2.0, 2.0, 1.0])
    rows = np.array([heat.open(1) for _ in range(3)])
    heat.cost[rows] = 2.0, 3.0, 1.0
    assert bars(heat, rows, "one_se") == pytest.approx([0.76, 0.8, 0.7])


def test_a_candidate_must_reach_the_highest_lower_bound_by_plain_errors():
    heat = heat_of([[0.5, 0.9], [0.64, 0.66]], costs=[1.0, 1.0])
    rows = np.array([heat.open(1)])
    assert bars(heat, rows, "lower_bound") == pytest.approx([0.64])  # 0.65 less 0.01, not 0.7 less 0.2


def test_one_objective_that_may_be_won_keeps_a_configuration_in():
    heat = heat_of([[0.8, 0.8]], costs=[1.0], channels=3)
    reach = np.array([[0.7, 0.6, 0.9], [0.7, 0.6, 0.7]])
    assert beaten(heat, np.array([0, 0]), reach, "pareto").tolist() == [False, True]
