"""How units of cases are dealt: as evenly as can be, and mended where a class was left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from engine.folds import inner
from engine.folds.dealing import evenly, every_so_often, nearest, spare, units_of
from engine.folds.inner import inner_parts
from engine.folds.make import derive, make_folds
from engine.spec.folds import Folds
from tests.packs import labels_of, pack_of

seeds = st.integers(0, 2**32 - 1)


def test_a_share_that_is_no_whole_case_is_rounded_by_chance():
    held = [every_so_often(np.zeros(3, np.int64), 0.5, np.random.default_rng(seed)) for seed in range(20)]
    assert {int(each.sum()) for each in held} == {1, 2}


@st.composite
def units_of_strata(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Strata and units of cases; a unit's cases are mostly of one stratum."""
    strata, units = [], []
    for unit, size in enumerate(draw(st.lists(st.integers(1, 7), min_size=8, max_size=40))):
        own = draw(st.integers(0, 2))
        strata += [draw(st.sampled_from([own] * 4 + [0, 1, 2])) for _ in range(size)]
        units += [unit] * size
    return np.array(strata), np.array(units)


def unevenness(strata: np.ndarray, dealt: np.ndarray, parts: int) -> float:
    """The sum of squared shares of each stratum in each part."""
    held = np.array([np.bincount(strata[dealt == part], minlength=3) for part in range(parts)])
    return float(np.square(held / np.maximum(held.sum(0), 1)).sum())


@given(drawn=units_of_strata(), parts=st.integers(2, 6), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_no_last_unit_would_have_lain_better_elsewhere(drawn, parts, seed):
    """Of the smallest size, some unit was dealt last; it went where it leaves the strata most even."""
    strata, units = drawn
    dealt = evenly(strata, units, parts, np.random.default_rng(seed))
    reached = unevenness(strata, dealt, parts)
    smallest = np.flatnonzero(np.bincount(units) == np.bincount(units).min())
    best = [
        min(unevenness(strata, np.where(units == unit, part, dealt), parts) for part in range(parts))
        for unit in smallest
    ]
    assert any(reached <= least + 1e-12 for least in best)


@given(drawn=units_of_strata(), parts=st.integers(2, 6), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_single_cases_differ_by_one_between_parts_and_so_do_the_parts(drawn, parts, seed):
    strata, _ = drawn
    dealt = evenly(strata, np.arange(len(strata)), parts, np.random.default_rng(seed))
    held = np.array([np.bincount(strata[dealt == part], minlength=3) for part in range(parts)])
    assert np.ptp(held, axis=0).max() <= 1
    assert np.ptp(held.sum(1)) <= 1


def test_groups_are_dealt_about_as_evenly_as_scikit_learn_deals_them():
    ours, theirs = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(1, 8, 60)
        units, own = np.repeat(np.arange(60), sizes), np.repeat(generator.integers(0, 3, 60), sizes)
        strata = np.where(generator.random(len(own)) < 0.2, generator.integers(0, 3, len(own)), own)
        dealt = evenly(strata, units, 5, np.random.default_rng(seed))
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        known = np.empty(len(strata), np.int64)
        for part, (_, held) in enumerate(splitter.split(strata, strata, units)):
            known[held] = part
        ours.append(unevenness(strata, dealt, 5))
        theirs.append(unevenness(strata, known, 5))
    assert np.mean(ours) <= np.mean(theirs) * 1.01


def test_cases_of_small_strata_are_dealt_to_parts_of_one_size():
    dealt = evenly(np.arange(4), np.arange(4), 4, np.random.default_rng(0))
    assert sorted(dealt) == [0, 1, 2, 3]


def test_the_smallest_unit_that_can_be_spared_is_moved():
    units = np.array([0, 0, 0, 1, 2, 2, 3])
    labels = np.array([0, 0, 0, 0, 0, 0, 1])
    assert spare(labels, units, np.zeros(7, np.int64), 0) == 1
    assert spare(labels, units, np.array([0, 0, 0, 1, 0, 0, 0]), 0) == 2  # the first is all its part has
    assert spare(labels, units, np.zeros(7, np.int64), 1) is None


def test_a_rare_stratum_is_spread_before_a_common_one_is_level():
    """Two units hold the two rare cases; the part that has most of the common ones gets the second."""
    strata = np.array([0] * 30 + [1] + [0] * 5 + [1, 0])
    units = np.array([0] * 30 + [1] * 6 + [2] * 2)
    for seed in range(10):
        dealt = evenly(strata, units, 2, np.random.default_rng(seed))
        assert sorted(dealt[strata == 1]) == [0, 1]
        assert np.bincount(dealt)[dealt[-1]] == 32


def test_strata_too_small_for_the_parts_leave_each_label_spread_evenly():
    pack = pack_of(labels_of(6, 6, 6))
    label_of = dict(zip(pack.cases, pack.labels.tolist(), strict=True))
    for seed in range(10):
        for fold in make_folds(pack, Folds(k=5, stratify="label_size", seed=seed)).folds:
            held = np.bincount([label_of[case] for case in fold.test], minlength=3)
            assert set(held.tolist()) <= {1, 2}


def test_a_patient_and_a_group_of_one_name_tie_nothing_together():
    pack = pack_of(labels_of(4), ("1", "1", None, None), (None, None, "1", "1"), classes=("benign",))
    first, second, third, fourth = units_of(pack, Folds(group_by="both"))
    assert first == second != third == fourth


def test_of_several_parts_those_are_held_out_that_make_up_the_share_together():
    assert sorted(nearest(np.array([5, 10, 10, 25, 40]), wanted=20.0, count=2)) == [1, 2]


def test_inner_folds_are_dealt_anew_in_each_repeat_and_outer_fold(monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[int, ...]] = []
    monkeypatch.setattr(inner, "derive", lambda seed, *at: drawn.append(at) or derive(seed, *at))
    pack, spec = pack_of(labels_of(30, 30, 30)), Folds(k=2, repeats=2, outer=2)
    manifest = make_folds(pack, spec)
    for fold in (*manifest.folds, *manifest.finals):
        parts = inner_parts(pack, spec, fold, 3)
        assert sorted(case for part in parts for case in part) == sorted(fold.train)
    assert len(set(drawn)) == 2 * 2 * 2  # a final shares the seed of one whose cases are others
