"""The unit of a race's prices: how far the folds of one configuration lie apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.race.beliefs import Beliefs
from engine.race.noise import BELIEVED, FURTHEST, apart, noise_of


def test_folds_are_compared_at_the_last_level_that_two_of_them_reached():
    of_two, of_one = [[1, 5, 9], [3, 8, 0], [2, 0, 0]], [[7, 7, 7], [0, 0, 0], [0, 0, 0]]
    residual = np.array([of_two, of_one], dtype=float)
    assert apart(residual, residual > 0) == (pytest.approx(2 * 1.5**2), 1)  # 5 and 8


@given(st.integers(0, 10_000))
def test_what_is_believed_is_outweighed_by_what_is_seen(seed):
    residual = 0.02 * np.random.default_rng(seed).standard_normal((400, 5, 3))
    found = noise_of(residual, np.ones((400, 5, 3), dtype=bool), believed=0.3)
    assert found == pytest.approx(0.02 * np.sqrt(2), rel=0.12)


def test_nothing_seen_leaves_what_is_believed():
    known = np.zeros((9, 5, 3), dtype=bool)
    known[:, 0] = True  # one fold of each
    assert noise_of(np.where(known, 1.0, 0.0), known, believed=0.3) == 0.3


def test_folds_that_tie_do_not_make_training_free():
    known = np.ones((50, 5, 3), dtype=bool)
    assert noise_of(np.zeros((50, 5, 3)), known, 0.3) == pytest.approx(0.3 / FURTHEST, rel=0.1)
    few = known[:1, :2]
    assert noise_of(np.zeros((1, 2, 3)), few, 0.3) == pytest.approx(0.3 / FURTHEST ** (1 / (1 + BELIEVED)))


def test_configurations_far_apart_make_no_noise():
    """A few looked at on two folds, all others on one, as a search begins: the unit is that of the folds."""
    rng = np.random.default_rng(3)
    curves = rng.normal(0.5, 0.2, (200, 1, 1)) + rng.normal(0, 0.01, (200, 5, 1)) + np.zeros(4)
    depth = np.zeros((200, 5), dtype=int)
    depth[:, 0] = 1
    depth[:20, :2] = 2
    beliefs = Beliefs(5, 4)
    beliefs.learn(curves, depth)
    assert beliefs.noise < 3 * 0.01 * np.sqrt(2) < np.sqrt(2 * beliefs.own[-1, -1])
