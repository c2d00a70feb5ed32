"""Which of the found cases a study uses, and which of them are told to be duplicates."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.data.cases import Case, Found, Problem
from engine.data.groups import read_groups, told_of, write_groups
from engine.data.select import select
from engine.spec.data import Data
from tests.packs import labels_of, pack_of

DATA = Data(classes=("benign", "malignant"))


def case(name: str, label: str = "benign", image: str | None = None) -> Case:
    return Case(name, Path("images") / (image or f"{name}.png"), (), label)


def broken(name: str) -> Problem:
    return Problem(name, f"{name}.png", "unreadable", "cannot be read")


def rules(found: Found) -> list[tuple[str, str]]:
    return [(problem.case, problem.rule) for problem in found.problems]


def test_cases_are_used_in_natural_order_and_those_of_other_classes_are_left_out() -> None:
    cases = tuple(case(f"c{n}", label) for n in (10, 2, 1) for label in ["normal" if n == 2 else "benign"])
    found = select(Found(cases), DATA)
    assert [one.name for one in found.cases] == ["c1", "c10"]
    assert not found.problems


def test_a_class_that_nobody_knows_is_a_mistake_and_one_of_the_study_is_none() -> None:
    cases = (case("a", "cyst"), case("b", "bening"), case("c", "malignant"))
    found = select(Found(cases), Data(classes=("cyst", "benign")))
    assert rules(found) == [("b", "label")]
    assert [one.name for one in found.cases] == ["a"]


def test_of_a_curated_choice_only_what_it_keeps_can_be_broken(tmp_path: Path) -> None:
    """A file that nobody wants to train on refuses no study."""
    (tmp_path / "ids.csv").write_text("case\na\nkept but broken\n")
    data = Data(classes=("benign", "malignant"), keep="curated", ids=str(tmp_path / "ids.csv"))
    cases = tuple(map(case, ("a", "b", "kept but broken", "left out and broken")))
    problems = (broken("kept but broken"), broken("left out and broken"))
    found = select(Found(cases, problems), data)
    assert rules(found) == [("kept but broken", "unreadable")]
    assert [one.name for one in found.cases] == ["a"]


@pytest.mark.parametrize("name", [" a", "a ", "", ".a", "a/b", "a\\b", "a\nb", "x" * 201])
def test_a_name_that_would_be_no_good_name_of_a_file_is_refused(name: str) -> None:
    assert rules(select(Found((case(name), case("fine"))), DATA)) == [(name, "case-name")]


def test_one_image_listed_twice_and_two_images_of_one_name_are_told_apart() -> None:
    other = replace(case("a"), image=Path("others/a.png"))
    (twice,) = select(Found((case("a"), case("a"))), DATA).problems
    (two,) = select(Found((case("a"), other)), DATA).problems
    assert "is listed twice as 'a'; masks go into one row" in twice.text
    assert "has the case name 'a', as images/a.png has; names must differ" in two.text


def test_duplicates_are_counted_where_at_least_two_are_used_and_conflicts_are_named() -> None:
    groups = ("g1", "g1", None, "g2", "g1", "g3", "g3", None)
    pack = pack_of(labels_of(4, 4), groups=groups, classes=("benign", "malignant"))
    count, conflict = told_of(pack)
    assert count == "5 of 8 cases are duplicates of others, in 2 groups"
    assert conflict.startswith(
        "1 group of duplicates with conflicting labels: case 000, case 001, case 004; sonotune data audit"
    )
    assert told_of(replace(pack, groups=("g1", "g2", *(None,) * 6))) == []
    assert len(told_of(replace(pack, groups=("g1", "g1", *(None,) * 6)))) == 1


def test_a_written_table_of_groups_is_read_as_it_was_group_by_group(tmp_path: Path) -> None:
    path, pack = tmp_path / "groups.csv", pack_of(labels_of(4), classes=("benign",))
    write_groups(path, {"case 003": "g1", "case 000": "g2", "case 001": "g1", "case 002": "g2"})
    rows = path.read_text().split()
    assert rows == ["case,group", "case", "001,g1", "case", "003,g1", "case", "000,g2", "case", "002,g2"]
    path.write_text(path.read_text() + "case of another class,g2\n")
    found = read_groups(path, replace(pack, notes=("told before",)))
    assert found.groups == ("g2", "g1", "g2", "g1")
    assert found.notes[0] == "told before"
    assert "names 1 case not used here, such as 'case of another class'" in found.notes[1]


def test_a_case_whose_group_a_person_has_emptied_is_in_none(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("case,group\ncase 000,\ncase 001,g1\ncase 002,\n")
    found = read_groups(tmp_path / "groups.csv", pack_of(labels_of(4), classes=("benign",)))
    assert found.groups == (None, "g1", None, None)
