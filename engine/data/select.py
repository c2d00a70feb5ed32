"""Which of the found cases are used: names that can be trusted, the classes of the study, the ids to keep."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from engine.data.cases import NORMAL, Case, Found, Problem
from engine.data.files import natural
from engine.data.sources.manifest import BETWEEN_MASKS
from engine.data.tables import read_table
from engine.errors import SonotuneError
from engine.spec.data import Data
from engine.words import plural

FEWEST = 3  # cases of a class: one each to train, validate and test on
KNOWN = ("benign", "malignant", NORMAL)
NAME = re.compile(r"^(?!\.)[^/\\]{1,200}\Z")


def select(found: Found, data: Data) -> Found:
    """Cases in natural order of their names, whatever the order of the files or of `classes`."""
    problems = [*found.problems, *_names(found.cases), *_labels(found.cases, data)]
    broken = {problem.case for problem in problems}
    cases = [case for case in found.cases if case.name not in broken]
    if data.keep == "curated":
        kept = set(_ids_to_keep(found.cases, data))
        cases = [case for case in cases if case.name in kept]
        problems = [problem for problem in problems if problem.case in kept]
    used = [case for case in cases if case.label in data.classes]
    used.sort(key=lambda case: natural(case.name))
    return replace(found, cases=tuple(used), problems=tuple(problems))


def _names(cases: tuple[Case, ...]) -> list[Problem]:
    """Names become file names in a run folder, so they hold no separators; two cases never share one."""
    rule = "must be 1 to 200 characters, printable, without slashes, without a dot in front"
    bad = [
        Problem(case.name, case.image.name, "case-name", f"has the case name {case.name!r}; it {rule}")
        for case in cases
        if not (NAME.match(case.name) and case.name.isprintable() and case.name == case.name.strip())
    ]
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.name, case)
        if other is not case:
            text = f"has the case name {case.name!r}, as {_in_folder(other)} has; names must differ"
            if other.image == case.image:
                text = f"is listed twice as {case.name!r}; masks go into one row, {BETWEEN_MASKS!r} between"
            bad.append(Problem(case.name, _in_folder(case), "same-name", text))
    return bad


def _in_folder(case: Case) -> str:
    """Two classes may hold pictures of one name."""
    return f"{case.image.parent.name}/{case.image.name}"


def _labels(cases: tuple[Case, ...], data: Data) -> list[Problem]:
    """A label that nobody knows is a mistake; one that the study leaves out is a choice."""
    known = tuple(dict.fromkeys((*data.classes, *KNOWN)))
    return [
        Problem(
            case.name, case.image.name, "label", f"has the label {case.label!r}; known are {', '.join(known)}"
        )
        for case in cases
        if case.label not in known
    ]


def _ids_to_keep(cases: tuple[Case, ...], data: Data) -> list[str]:
    try:
        names = read_ids(Path(data.ids or "").expanduser())
    except SonotuneError as error:
        raise SonotuneError(f"data.ids: {error}") from error
    known = {case.name for case in cases}
    unknown = [name for name in names if name not in known]
    if unknown:
        like = f"; its cases are named like {cases[0].name!r}" if cases else ", which has none"
        raise SonotuneError(
            f"data.ids {data.ids!r} names {plural(len(unknown), 'case')} unknown to data.root, such as "
            f"{unknown[0]!r}{like}"
        )
    return names


def read_ids(path: Path) -> list[str]:
    """A column `case`, or the columns `class` and `id` of Curated BUSI's file."""
    rows = read_table(path)
    if "case" in rows[0]:
        return [row["case"] for row in rows]
    if {"class", "id"} <= set(rows[0]):
        return [f"{row['class']} ({row['id']})" for row in rows]
    raise SonotuneError(
        f"table {str(path)!r} needs a column 'case', or the columns 'class' and 'id'; it has "
        f"{', '.join(rows[0])}"
    )


def check_classes(labels: list[str], data: Data) -> None:
    """Every class of the study occurs often enough to be trained, validated and tested on."""
    counts = Counter(labels)
    few = [f"{name} has {counts[name]}" for name in data.classes if counts[name] < FEWEST]
    if few:
        raise SonotuneError(
            f"data.classes needs {FEWEST} or more cases of each class in {data.source}, but {', '.join(few)};"
            f" leave the class out of data.classes or add cases"
        )
