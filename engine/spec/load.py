"""Loads a study and reports every mistake in it at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import many
from engine.spec import text
from engine.spec.overrides import apply_overrides
from engine.spec.problems import problems_of, unknown
from engine.spec.space import (
    SEARCHABLE,
    VARIANTS,
    Malformed,
    Scalar,
    Space,
    kind_of,
    parse_distribution,
    walk,
)
from engine.spec.study import Configuration, Fixed, Study

FIXED = tuple(Fixed.model_fields)
OTHER = (VARIANTS, "profiles", "paper")
TOP = (*FIXED, *SEARCHABLE, *OTHER)


def load(path: Path, profile: str | None = None, overrides: Sequence[str] = ()) -> Study:
    document = apply_overrides(text.read_mapping(path), profile, overrides)
    return study_of(document, str(path))


def study_of(document: Mapping[str, Any], name: str) -> Study:
    """The study that a document describes, or one error that lists all that is wrong with it."""
    problems = [unknown(str(key), TOP) for key in document if key not in TOP]
    problems += _misplaced(document) + _malformed(document)
    fixed, found = _fixed(document)
    problems += found
    if _malformed(document) or problems_in_shape(document):
        raise many(name, problems + problems_in_shape(document))
    space = Space.of(document)
    problems += list(dict.fromkeys(_probe(space)))
    first, found = _first(document, space, fixed)
    problems += found
    if problems or fixed is None:
        raise many(name, problems)
    return Study(document, fixed, space, first)


def problems_in_shape(document: Mapping[str, Any]) -> list[str]:
    """Sections that are no mappings at all; nothing deeper can be said of them."""
    return [
        f"{key}: got {document[key]!r}; a section is a mapping of names to values"
        for key in (*SEARCHABLE, VARIANTS)
        if key in document and not isinstance(document[key], dict)
    ]


def _fixed(document: Mapping[str, Any]) -> tuple[Fixed | None, list[str]]:
    sections = {key: document[key] for key in FIXED if key in document}
    try:
        return Fixed.model_validate(sections), []
    except ValidationError as error:
        return None, problems_of(error, Fixed)


def _misplaced(document: Mapping[str, Any]) -> list[str]:
    places = ", ".join(SEARCHABLE)
    return [
        f"{name}: {next(iter(node))} stands where nothing can be searched; distributions belong in {places}"
        for key in FIXED
        for name, node, _ in walk(document.get(key), key)
    ]


def _malformed(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for key in (*SEARCHABLE, VARIANTS):
        for name, node, _ in walk(document.get(key), key):
            try:
                parse_distribution(node)
            except Malformed as error:
                problems.append(f"{name}: {error}")
    return problems


def _probe(space: Space) -> Iterator[str]:
    """Each end of each distribution is validated in place: a space is sound when its corners are."""
    for params in space.probes():
        try:
            Configuration.model_validate(space.sections(params))
        except ValidationError as error:
            where = "".join(f" (with {name}={value})" for name, value in params.items() if name == VARIANTS)
            yield from (problem + where for problem in problems_of(error, Configuration))


def _first(
    document: Mapping[str, Any], space: Space, fixed: Fixed | None
) -> tuple[tuple[Mapping[str, Scalar], ...], list[str]]:
    """The configurations to start with, as values of dimensions."""
    wanted = fixed.search.first if fixed else ()
    if wanted == "paper":
        wanted = document.get("paper", ())
        if not wanted:
            return (), ["search.first: is 'paper', but the space marks no configuration as `paper:`"]
    listed = [wanted] if isinstance(wanted, dict) else list(wanted or ())
    if not all(isinstance(one, dict) for one in listed):
        return (), [f"search.first: got {wanted!r}; give 'paper' or a list of mappings from names to values"]
    problems: list[str] = []
    starts = tuple(_start(one, space, problems) for one in listed)
    return starts, problems


def _start(given: Mapping[str, Any], space: Space, problems: list[str]) -> dict[str, Scalar]:
    flat = dict(_flat(given))
    known = {d.name: d.distribution for d in space.dimensions}
    branch = f"{VARIANTS}.{flat.get(VARIANTS)}."
    start: dict[str, Scalar] = {}
    for name, value in flat.items():
        full = branch + name if branch + name in known else name
        if full not in known:
            problems.append("search.first: " + unknown(name, known))
        elif not known[full].holds(value):
            problems.append(f"search.first: {name}: got {value!r}; it must lie in {known[full]}")
        else:
            start[full] = value
    return start


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict) and not kind_of(value):
            yield from _flat(value, path)
        else:
            yield path, value
