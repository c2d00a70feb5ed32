"""Folds never leak, cover every case, and are the same wherever they are made."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.folds import make
from engine.folds.dealing import deal, strata_of, table_of
from engine.folds.leaks import fewest, some
from engine.folds.make import derive, make_folds
from engine.spec.folds import Folds
from tests.packs import CLASSES, NINE, labels_of, pack_of


def shuffled(pack: Pack, seed: int) -> Pack:
    order = np.random.default_rng(seed).permutation(len(pack.cases))
    mixed = {}
    for field in dataclasses.fields(pack):
        value = getattr(pack, field.name)
        if field.name not in ("classes", "fingerprint", "notes", "source"):
            tuple_or_array = isinstance(value, np.ndarray)
            mixed[field.name] = value[order] if tuple_or_array else tuple(value[row] for row in order)
    return dataclasses.replace(pack, **mixed)


counts_per_class = st.tuples(*[st.integers(6, 40)] * 3)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def grouped_packs(draw: st.DrawFn) -> Pack:
    """Patients of one to four cases, mostly of one label, and a few duplicates across patients."""
    labels, patients, groups = [], [], []
    for label in range(3):
        for number in range(draw(st.integers(8, 16))):
            for _ in range(draw(st.integers(1, 4))):
                labels.append((label + draw(st.sampled_from([0, 0, 0, 1]))) % 3)
                patients.append(draw(st.sampled_from([f"{label}-{number}"] * 4 + [None])))
                groups.append(draw(st.sampled_from([None] * 12 + ["twin a", "twin b"])))
    return pack_of(labels, tuple(patients), tuple(groups))


@given(counts=counts_per_class, k=st.integers(2, 6), repeats=st.integers(1, 3), seed=seeds)
@settings(max_examples=20, deadline=None)
def test_parts_are_disjoint_and_every_case_is_tested_once_per_repeat(counts, k, repeats, seed):
    pack = pack_of(labels_of(*counts))
    manifest = make_folds(pack, Folds(k=k, repeats=repeats, seed=seed))
    assert len(manifest.folds) == k * repeats
    for repeat in range(repeats):
        folds = [fold for fold in manifest.folds if fold.repeat == repeat]
        assert Counter(case for fold in folds for case in fold.test) == Counter(pack.cases)
        for fold in folds:
            assert sorted(fold.train + fold.validation + fold.test) == sorted(pack.cases)


@given(counts=counts_per_class, k=st.integers(2, 6), seed=seeds)
@settings(max_examples=20, deadline=None)
def test_ungrouped_parts_hold_each_label_within_one_case_of_its_share(counts, k, seed):
    pack = pack_of(labels_of(*counts))
    label_of = dict(zip(pack.cases, pack.labels, strict=True))
    for fold in make_folds(pack, Folds(k=k, seed=seed)).folds:
        for label, count in enumerate(counts):
            tested = sum(label_of[case] == label for case in fold.test)
            validated = sum(label_of[case] == label for case in fold.validation)
            assert abs(tested - count / k) < 1
            assert abs(validated - 0.2 * (count - tested)) <= 1


@given(pack=grouped_packs(), seed=seeds, by=st.sampled_from(["patient", "duplicates", "both"]))
@settings(max_examples=20, deadline=None)
def test_what_belongs_together_is_never_torn(pack, seed, by):
    manifest = make_folds(pack, Folds(k=3, seed=seed, group_by=by, allow_leak=True))
    names = {"patient": [pack.patients], "duplicates": [pack.groups], "both": [pack.patients, pack.groups]}
    for fold in manifest.folds:
        part_of = {case: part for part, cases in fold.parts.items() for case in cases}
        for ids in names[by]:
            pairs = {(name, part_of[c]) for name, c in zip(ids, pack.cases, strict=True) if name is not None}
            assert len(pairs) == len({name for name, _ in pairs})


@given(pack=grouped_packs(), seed=seeds)
@settings(max_examples=20, deadline=None)
def test_every_class_is_in_every_part_of_grouped_folds(pack, seed):
    label_of = dict(zip(pack.cases, pack.labels, strict=True))
    for fold in make_folds(pack, Folds(k=4, seed=seed)).folds:
        for cases in fold.parts.values():
            assert {label_of[case] for case in cases} == {0, 1, 2}


@given(pack=grouped_packs(), seed=seeds, order=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_cases(pack, seed, order):
    spec = Folds(k=3, seed=seed, group_by="patient", allow_leak=True)
    assert make_folds(pack, spec).digest == make_folds(shuffled(pack, order), spec).digest


def test_another_seed_gives_other_folds():
    pack = pack_of(labels_of(12, 9, 6))
    assert make_folds(pack, Folds(k=3, seed=1)).digest != make_folds(pack, Folds(k=3, seed=2)).digest


def test_one_more_repeat_leaves_the_first_as_it_was():
    pack = pack_of(labels_of(12, 9, 6))
    one, two = (make_folds(pack, Folds(k=3, repeats=repeats)) for repeats in (1, 2))
    assert two.folds[:3] == one.folds
    assert two.names[3:] == ("r1-f0", "r1-f1", "r1-f2")
    assert {fold.test for fold in two.folds[3:]} != {fold.test for fold in one.folds}


def test_every_split_is_drawn_with_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch):
    drawn: list[int] = []

    def noted(seed: int, *purpose: int) -> int:
        drawn.append(derive(seed, *purpose))
        return drawn[-1]

    monkeypatch.setattr(make, "derive", noted)
    make_folds(pack_of(labels_of(30, 30, 30)), Folds(k=3, repeats=2, outer=2))
    assert len(set(drawn)) == len(drawn) == 1 + 2 + 2 * 2 * (1 + 3)


def test_stratifying_by_size_spreads_large_and_small_lesions():
    pack = pack_of(labels_of(30, 30, 30))
    areas = dict(zip(pack.cases, pack.masks.reshape(90, -1).sum(1), strict=True))
    folds = make_folds(pack, Folds(k=5, stratify="label_size")).folds
    for label in range(3):
        mine = [case for case, own in zip(pack.cases, pack.labels, strict=True) if own == label]
        largest = set(sorted(mine, key=lambda case: (areas[case], case))[20:])
        assert [len(largest & set(fold.test)) for fold in folds] == [2] * 5


def test_strata_smaller_than_k_fall_back_to_the_labels():
    folds = make_folds(pack_of(labels_of(6, 6, 6)), Folds(k=5, stratify="label_size")).folds
    assert sorted(len(fold.test) for fold in folds) == [3, 3, 4, 4, 4]


def test_a_class_that_stratification_leaves_out_of_a_part_is_moved_there():
    patients = tuple(f"p{number // 4}" for number in range(48))
    labels = [int(number % 12 < 2) for number in range(48)]  # four patients hold the rare class, two each
    pack = pack_of(labels, patients, classes=("benign", "malignant"))
    table = table_of(pack, Folds())
    for seed in range(20):
        dealt = deal(table, np.arange(48), 4, seed)
        assert all(set(table.labels[dealt == part]) == {0, 1} for part in range(4))


def test_cases_without_a_lesion_are_of_one_size():
    pack = pack_of(labels_of(9, 9, 9))
    masks = pack.masks * (pack.labels < 2)[:, None, None].astype(np.uint8)
    strata = strata_of(dataclasses.replace(pack, masks=masks), Folds(stratify="label_size"))
    assert Counter(strata.tolist()) == {0: 3, 1: 3, 2: 3, 3: 3, 4: 3, 5: 3, 6: 9}


def test_nested_folds_keep_their_outer_test_cases_out_of_the_inner_ones():
    pack = pack_of(labels_of(30, 20, 15), tuple(f"p{number // 2}" for number in range(65)))
    manifest = make_folds(pack, Folds(k=3, outer=4))
    assert manifest.names[:4] == ("o0-r0-f0", "o0-r0-f1", "o0-r0-f2", "o1-r0-f0")
    assert sorted(case for final in manifest.finals for case in final.test) == sorted(pack.cases)
    for fold in manifest.folds:
        held = set(manifest.fold(f"o{fold.outer}").test)
        assert not held & {case for part in fold.parts.values() for case in part}


def test_a_validation_share_is_kept_where_groups_allow_it():
    pack = pack_of(labels_of(60, 60, 60), tuple(f"p{number // 2}" for number in range(180)))
    for share in (0.1, 0.15, 0.3, 0.5):
        for fold in make_folds(pack, Folds(k=3, validation=share)).folds:
            assert len(fold.validation) / 120 == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.95])
def test_a_share_below_a_tenth_is_kept_where_groups_are_small(share):
    pack = pack_of(labels_of(400, 400, 400), tuple(f"p{number // 2}" for number in range(1200)))
    for fold in make_folds(pack, Folds(k=3, validation=share)).folds:
        assert len(fold.validation) / 800 == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("k", "outer"), [(2, 0), (3, 0), (5, 0), (2, 2), (3, 2), (2, 3), (2, 5)])
def test_what_a_design_is_said_to_need_is_enough_and_the_least(k, outer):
    spec, count = Folds(k=k, outer=outer), fewest(k, outer)
    make_folds(pack_of(labels_of(20, 20, count)), spec)
    with pytest.raises(SonotuneError, match=f"needs at least {count} cases"):
        make_folds(pack_of(labels_of(20, 20, count - 1)), spec)


TORN = pack_of(labels_of(8, 8, 8), tuple(f"p{number % 12}" for number in range(24)))
TWINS = pack_of(labels_of(8, 8, 8), groups=tuple(f"g{number % 12}" for number in range(24)))
REFUSED = {
    "a class smaller than k": (pack_of(labels_of(9, 9, 4)), Folds(k=5), "normal has 4"),
    "no third case for validation": (pack_of(labels_of(9, 9, 2)), Folds(k=2), "at least 4 cases"),
    "a class in too few patients": (
        pack_of(NINE, ("a",) * 4 + ("b",) * 5 + (None,) * 18), Folds(k=3), "benign has 2",
    ),
    "classes mixed in too few patients": (
        pack_of([1, 0, 1, 1, 2, 0, 1, 0, 0, 2, 2, 2, 0], tuple("aabccdefgghhh")), Folds(k=3, seed=2),
        "too mixed with other classes to lie in each of 3 parts; use another folds.seed",
    ),
    "a patient with nearly all cases of a class": (
        pack_of(labels_of(9, 9, 9), tuple(f"p{n}" for n in range(18)) + tuple("aaaaaabcd")), Folds(k=2),
        "has 1 separable unit .*; the rest lies in its test part: use another folds.seed, a larger folds.k",
    ),
    "too few for two levels": (pack_of(labels_of(9, 9, 6)), Folds(outer=2, k=5), "at least 10 cases"),
    "fewer than outer folds": (pack_of(labels_of(9, 9, 6)), Folds(outer=8, k=2), "at least 8 cases"),
    "an empty class": (pack_of(labels_of(9, 9)), Folds(k=3), "normal has 0"),
    "patients split on purpose": (TORN, Folds(k=3, group_by="none"), "patients in more than one part: p"),
    "duplicates split on purpose": (TWINS, Folds(k=3, group_by="patient"), "duplicates in more than one"),
    "no official folds": (pack_of(NINE), Folds(from_="official"), "no official fold; leave folds.from out"),
    "one official fold": (pack_of(NINE, official=(1,) * 27), Folds(from_="official"), "at least 2, got fold"),
    "another k than the official one": (
        pack_of(NINE, official=(1, 2, 3) * 9), Folds(from_="official", k=5), "3 folds are given",
    ),
    "repeated official folds": (
        pack_of(NINE, official=(1, 2, 3) * 9), Folds(from_="official", repeats=2), "cannot be repeated",
    ),
    "official folds that tear patients": (
        pack_of(NINE, tuple(f"p{n // 3}" for n in range(27)), official=(1, 2, 3) * 9),
        Folds(from_="official", group_by="none"), "in more than one part: p0, p1, p2",
    ),
    "an official fold without a class": (
        pack_of(labels_of(12, 12, 12), official=(1,) * 6 + (2,) * 6 + (1, 2) * 6 + (1,) * 12),
        Folds(from_="official"), "class|without any case of normal",
    ),
    "official folds that leave one unit of a class to train and validate": (
        pack_of(labels_of(9, 9, 4), (None,) * 18 + ("a", "a", "b", "b"), official=(1, 2) * 9 + (1, 1, 2, 2)),
        Folds(from_="official"), "fold r0-f0, train and validation: class normal has 1 separable unit",
    ),
    "a file that is not there": (pack_of(NINE), Folds(from_="nowhere.json"), "cannot be read"),
    "a case twice": (
        dataclasses.replace(TORN, cases=("one", "one", *TORN.cases[2:])), Folds(k=3), "more than once: one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_unsound_folds_are_refused_with_what_offends(why):
    pack, spec, message = REFUSED[why]
    with pytest.raises(SonotuneError, match=message):
        make_folds(pack, spec)


@pytest.mark.parametrize(
    "bad", [{"k": 1}, {"outer": 1}, {"validation": 0.0}, {"outer": 3, "from": "official"}]
)
def test_impossible_designs_are_refused_by_the_spec(bad):
    with pytest.raises(ValidationError):
        Folds(**bad)


def test_an_allowed_leak_is_the_first_warning():
    manifest = make_folds(TORN, Folds(k=3, group_by="none", allow_leak=True))
    assert manifest.warnings[0].startswith("LEAK, allowed by folds.allow_leak: fold r0-f0")
    assert "(and 2 more findings)" in manifest.warnings[0]


def test_of_many_cases_the_first_are_named_and_the_others_counted():
    assert some("abcdefgh") == "a, b, c, d, e, f, g, h"
    assert some("jihgfedcba") == "a, b, c, d, e, f, g, h and 2 more"


def test_missing_patient_ids_are_said():
    some_known = dataclasses.replace(TORN, patients=("p0", "p0", *(None,) * 22))
    assert "cannot be proved: 24 of 24" in make_folds(TWINS, Folds(k=3)).warnings[0]
    assert "cannot be proved: 22 of 24" in make_folds(some_known, Folds(k=3)).warnings[0]
    assert not make_folds(TORN, Folds(k=3)).warnings


def test_a_group_larger_than_a_fold_trains_and_is_said():
    pack = pack_of(labels_of(40, 30, 30), ("many",) * 35 + tuple(f"p{n}" for n in range(65)))
    manifest = make_folds(pack, Folds(k=5))
    assert any("uneven" in warning for warning in manifest.warnings)
    assert all(len(fold.validation) < 30 for fold in manifest.folds)


def test_few_patients_of_many_cases_are_dealt_or_refused_in_one_sentence():
    labels = labels_of(30, 30)
    six = pack_of(labels, patients=tuple(str(n // 10) for n in range(60)), classes=CLASSES[:2])
    folds = make_folds(six, Folds(k=3, group_by="patient")).folds
    assert [(len(f.train), len(f.validation), len(f.test)) for f in folds] == [(20, 20, 20)] * 3
    two = pack_of(labels, patients=tuple(str(n // 30) for n in range(60)), classes=CLASSES[:2])
    with pytest.raises(SonotuneError, match="groups that stay together"):
        make_folds(two, Folds(k=3, group_by="patient"))
