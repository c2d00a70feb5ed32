"""Folds that somebody else has made: official ones, another study's, a table's, and what may be wrong."""

import dataclasses
import json
from pathlib import Path

import pytest

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.folds.make import Fold, Manifest, make_folds
from engine.spec.folds import Folds
from tests.packs import NINE, labels_of, pack_of


def test_official_folds_are_honoured():
    official = tuple(number % 5 + 1 for number in range(60))
    manifest = make_folds(pack_of(labels_of(20, 20, 20), official=official), Folds(from_="official"))
    assert manifest.names == tuple(f"r0-f{number}" for number in range(5))
    assert manifest.fold("r0-f2").test == tuple(f"case {number:03d}" for number in range(2, 60, 5))


def test_the_way_out_of_a_leak_is_one_that_leads_out():
    """Grouping moves no case of folds that were given."""
    official = tuple(number % 5 for number in range(60))
    pack = pack_of(labels_of(20, 20, 20), groups=("g", "g") + (None,) * 58, official=official)
    with pytest.raises(SonotuneError, match=r"leak \(leave out folds\.from, or folds\.allow_leak"):
        make_folds(pack, Folds(from_="official"))
    with pytest.raises(SonotuneError, match=r"leak \(set folds\.group_by: both, or"):
        make_folds(pack, Folds(group_by="none", seed=1))


def test_the_folds_of_one_study_serve_another(tmp_path: Path):
    pack = pack_of(labels_of(12, 12, 12))
    manifest = make_folds(pack, Folds(k=3, outer=3, seed=5))
    path = tmp_path / "folds.json"
    path.write_text(manifest.to_json())
    assert Manifest.from_json(path.read_text()) == manifest
    assert make_folds(pack, Folds.model_validate({"from": str(path)})).digest == manifest.digest


def test_what_is_told_of_given_folds_is_told_beside_what_was_told_of_the_data(tmp_path: Path):
    pack = dataclasses.replace(pack_of(NINE), notes=("of the data",))
    path = tmp_path / "theirs.json"
    path.write_text(make_folds(pack, Folds(k=3, seed=5)).to_json(), encoding="utf-8-sig")  # as some editors
    given = make_folds(pack, Folds(from_=str(path), seed=9))
    assert given.seed == 5
    assert given.notes[0] == "folds as given in theirs.json; k, repeats, seed and validation are that file's"
    assert given.notes[-1] == "of the data"


def test_folds_of_the_same_classes_in_another_order_are_taken(tmp_path: Path):
    """Folds hold names of cases; the study's own order numbers the labels."""
    pack = pack_of(labels_of(9, 9), classes=("benign", "malignant"))
    path = tmp_path / "folds.json"
    path.write_text(make_folds(pack, Folds(k=3)).to_json())
    turned = dataclasses.replace(pack, labels=1 - pack.labels, classes=("malignant", "benign"))
    given = make_folds(turned, Folds(from_=str(path)))
    assert given.folds == make_folds(pack, Folds(k=3)).folds
    assert given.classes == turned.classes


def test_a_fold_of_which_the_study_uses_no_case_is_none(tmp_path: Path):
    pack = pack_of(NINE)
    rows = [*(f"{case},{number % 3}" for number, case in enumerate(pack.cases)), "of another class,7"]
    (tmp_path / "mine.csv").write_text("\n".join(["case,fold", *rows]))
    assert make_folds(pack, Folds(from_=str(tmp_path / "mine.csv"))).names == ("r0-f0", "r0-f1", "r0-f2")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_test_folds_can_be_given(separator: str, tmp_path: Path):
    pack = pack_of(labels_of(12, 12, 12))
    rows = [f"{case}{separator}{number % 4}" for number, case in enumerate((*pack.cases, "of another class"))]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([f"case{separator}fold", *rows]))
    assert make_folds(pack, Folds(from_=str(path))).fold("r0-f1").test == pack.cases[1::4]


def test_folds_that_a_spreadsheet_wrote_with_a_point_are_whole(tmp_path: Path):
    pack = pack_of(labels_of(12, 12, 12))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["case,fold", *(f"{case},{row % 4}.0" for row, case in enumerate(pack.cases))]))
    assert make_folds(pack, Folds(from_=str(path))).fold("r0-f1").test == pack.cases[1::4]


DAMAGED = {
    "not JSON": ("folds.json", "{", "is not a fold manifest"),
    "a list": ("folds.json", "[]", "is not a fold manifest"),
    "another schema": ("folds.json", '{"schema": 9, "digest": ""}', "schema 9"),
    "no columns": ("folds.csv", "a,b\n1,2", "no column 'case', 'fold'"),
    "a row twice": ("folds.csv", "case,fold\na,1\na,2", "case a appears twice"),
    "a fold in words": ("folds.csv", "case,fold\na,one", "whole number from 0 to 999, got 'one'"),
    "a short row": ("folds.csv", "case,fold\na", "row 2 has 1 cell, the header has 2"),
    "a cell more": ("folds.csv", "case,fold\na,1,2", "row 2 has 3 cells"),
    "too few cases": ("folds.csv", "case,fold\na,1", "says nothing of case 000"),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_a_broken_file_of_folds_is_named(why, tmp_path: Path):
    name, text, message = DAMAGED[why]
    (tmp_path / name).write_text(text)
    with pytest.raises(SonotuneError, match=message):
        make_folds(pack_of(NINE), Folds(from_=str(tmp_path / name)))


def test_a_manifest_of_other_classes_is_refused(tmp_path: Path):
    path = tmp_path / "folds.json"
    path.write_text(make_folds(pack_of(NINE), Folds(k=3)).to_json())
    with pytest.raises(SonotuneError, match="splits the classes benign, malignant, normal"):
        make_folds(pack_of(labels_of(9, 9), classes=("a", "b")), Folds(from_=str(path)))


@pytest.mark.parametrize("level", ["folds", "finals"])
def test_a_manifest_edited_by_hand_is_refused(level: str):
    record = json.loads(make_folds(pack_of(labels_of(18, 18, 18)), Folds(k=3, outer=2)).to_json())
    record[level][0]["train"].append(record[level][0]["test"][0])
    with pytest.raises(SonotuneError, match="does not match its own digest"):
        Manifest.from_json(json.dumps(record))


CASES = tuple(f"case {number:03d}" for number in range(9))
ROUND = [
    Fold(f"r0-f{n}", CASES[(n + 1) % 3 :: 3], CASES[(n + 2) % 3 :: 3], CASES[n::3], repeat=0, fold=n)
    for n in range(3)
]
UNSOUND = {
    "overlap": ({"train": (*ROUND[0].train, ROUND[0].test[0])}, "more than once in its parts: case 000"),
    "a stranger": ({"train": (*ROUND[0].train, "who")}, "no such cases in the data set: who"),
    "a case left out": ({"train": ROUND[0].train[1:]}, "in no part: case 001"),
    "never tested": ({"test": ROUND[0].test[1:]}, "never tested: case 000"),
    "tested twice": ({"test": (*ROUND[0].test, "case 001"), "train": ROUND[0].train[1:]}, "once: case 001"),
    "no malignant ones": ({"test": ("case 000",)}, "test part without any case of malignant"),
}


@pytest.mark.parametrize("why", UNSOUND)
def test_an_imported_split_passes_the_same_checks(why, tmp_path: Path):
    change, message = UNSOUND[why]
    pack = pack_of([0, 0, 0, 1, 1, 1, 0, 1, 1], classes=("benign", "malignant"))
    folds = (dataclasses.replace(ROUND[0], **change), *ROUND[1:])
    path = tmp_path / "folds.json"
    path.write_text(Manifest(folds, pack.classes, 0).to_json())
    with pytest.raises(SonotuneError, match=message):
        make_folds(pack, Folds(from_=str(path)))


def test_an_imported_nested_split_that_shows_an_outer_test_case_inside_is_refused(tmp_path: Path):
    pack = pack_of(labels_of(18, 18), classes=("benign", "malignant"))
    made = make_folds(pack, Folds(k=3, outer=2))
    seen = made.fold("o0").test[0]
    unseen = next(case for case in made.fold("o1").test if label_in(pack, case) == label_in(pack, seen))

    def with_it(fold: Fold) -> Fold:
        parts = {
            part: tuple(seen if case == unseen else case for case in cases)
            for part, cases in fold.parts.items()
        }
        return dataclasses.replace(fold, **parts) if fold.outer == 0 else fold

    path = tmp_path / "folds.json"
    path.write_text(dataclasses.replace(made, folds=tuple(map(with_it, made.folds))).to_json())
    with pytest.raises(SonotuneError, match=f"o0-r0-f0: holds cases of its outer test part: {seen}"):
        make_folds(pack, Folds(from_=str(path)))


def test_an_outer_fold_that_tears_a_patient_is_refused_though_no_inner_one_does(tmp_path: Path):
    made = make_folds(pack_of(labels_of(18, 18, 18)), Folds(k=3, outer=2))
    known = pack_of(labels_of(18, 18, 18), torn_by(made))
    path = tmp_path / "folds.json"
    path.write_text(made.to_json())
    with pytest.raises(SonotuneError, match="fold o0: 1 patient in more than one part: p") as error:
        make_folds(known, Folds(from_=str(path)))
    assert "-r0-" not in str(error.value)


def torn_by(manifest: Manifest) -> tuple[str | None, ...]:
    """One patient, on both sides of each outer test part, and so in no inner fold twice."""
    both = {manifest.fold("o0").test[0], manifest.fold("o1").test[0]}
    cases = sorted(case for final in manifest.finals for case in final.test)
    return tuple("p" if case in both else None for case in cases)


def test_an_outer_fold_without_a_class_to_validate_on_is_refused(tmp_path: Path):
    pack = pack_of(labels_of(18, 18, 18))
    made = make_folds(pack, Folds(k=3, outer=2))
    final = made.fold("o1")
    normal = tuple(case for case in final.validation if label_in(pack, case) == 2)
    bare = dataclasses.replace(
        final,
        train=(*final.train, *normal),
        validation=tuple(case for case in final.validation if case not in normal),
    )
    path = tmp_path / "folds.json"
    path.write_text(dataclasses.replace(made, finals=(made.fold("o0"), bare)).to_json())
    with pytest.raises(SonotuneError, match="fold o1: validation part without any case of normal"):
        make_folds(pack, Folds(from_=str(path)))


def label_in(pack: Pack, case: str) -> int:
    return int(pack.labels[pack.cases.index(case)])


def test_an_unknown_fold_is_answered_with_the_known_ones():
    with pytest.raises(SonotuneError, match="there is no fold r9-f9; the folds are r0-f0, r0-f1"):
        make_folds(pack_of(NINE), Folds(k=3)).fold("r9-f9")
    with pytest.raises(SonotuneError, match=r"o1-r0-f2, o0, o1$"):
        make_folds(pack_of(labels_of(18, 18, 18)), Folds(k=3, outer=2)).fold("zz")
