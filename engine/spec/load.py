"""Loads a study and reports every mistake in it at once."""

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import SonotuneError, many
from engine.spec import text
from engine.spec.distribution import Malformed, Scalar, as_given, kind_of, parse_distribution
from engine.spec.overrides import apply_overrides
from engine.spec.problems import nearest, problems_of, unknown
from engine.spec.space import (
    SEARCHABLE,
    VARIANTS,
    Space,
    walk,
    without,
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
    misplaced = _misplaced(document)
    fixed, found = _fixed(document)
    problems += misplaced.values()
    problems += [problem for problem in found if problem.partition(":")[0] not in misplaced]
    unreadable = _malformed(document) | _out_of_shape(document)
    space = Space.of(without(document, unreadable))
    problems += [*unreadable.values(), *dict.fromkeys(_probe(space))]
    first, found = _first(document, space, fixed)
    if problems or fixed is None:
        raise many(name, problems)
    if found:
        raise many(name, found)
    return Study(document, fixed, space, first)


def refuse_empty(study: Study) -> None:
    """One configuration may be trained on purpose; thirty of the same were not meant."""
    configs = study.fixed.search.configs
    if not study.space.dimensions and configs > 1:
        raise SonotuneError(
            f"study {study.name}: search.configs is {configs}, but there is nothing to search; give a leaf a "
            "distribution such as {uniform: [0, 1]}, or train the one configuration: search.configs: 1"
        )


def _out_of_shape(document: Mapping[str, Any]) -> dict[str, str]:
    """Sections that are no mappings at all, by path; nothing deeper can be said of them."""
    variants = document.get(VARIANTS)
    named = variants.items() if isinstance(variants, dict) else ()
    places = [(key, document[key]) for key in (*SEARCHABLE, VARIANTS) if key in document]
    places += [(f"{VARIANTS}.{name}", above) for name, above in named if above is not None]
    return {
        path: f"{path}: got {value!r}; it must be a mapping of names to values"
        for path, value in places
        if not isinstance(value, dict) or kind_of(value)
    }


def _fixed(document: Mapping[str, Any]) -> tuple[Fixed | None, list[str]]:
    sections = {key: document[key] for key in FIXED if key in document}
    try:
        return Fixed.model_validate(sections), []
    except ValidationError as error:
        return None, problems_of(error, Fixed)


def _misplaced(document: Mapping[str, Any]) -> dict[str, str]:
    """By path, so that nobody is told as well that a distribution is no number."""
    places = ", ".join(SEARCHABLE)
    return {
        path: f"{path}: {next(iter(node))} stands where nothing can be searched; "
        f"distributions belong in {places}"
        for key in FIXED
        for path, node, _ in walk(document.get(key), key)
    }


def _malformed(document: Mapping[str, Any]) -> dict[str, str]:
    problems = {}
    for key in (*SEARCHABLE, VARIANTS):
        for name, node, _ in walk(document.get(key), key):
            try:
                parse_distribution(node)
            except Malformed as error:
                problems[name] = f"{name}: {error}"
    return problems


def _probe(space: Space) -> Iterator[str]:
    """Each end of each distribution is validated in place, then some of what lies between: of that one
    example is enough."""
    found = [problem for params in space.probes() for problem in _problems_at(space, params)]
    drawn = (list(_problems_at(space, params)) for params in space.drawn())
    yield from found or next(filter(None, drawn), [])


def _problems_at(space: Space, params: Mapping[str, Scalar]) -> Iterator[str]:
    where = "".join(f" (with {name}={value})" for name, value in params.items() if name == VARIANTS)
    sections = space.sections(params)
    try:
        Configuration.model_validate(sections)
    except ValidationError as error:
        yield from (problem + where for problem in problems_of(error, Configuration))
    yield from (problem + where for problem in _unknown_model(sections.get("model")))


def _unknown_model(model: Any) -> Iterator[str]:
    """The table of models is plain data; asking it here names a misspelt model beside all other mistakes."""
    from engine.models.registry import MODELS

    name = model.get("name") if isinstance(model, dict) else None
    if isinstance(name, str) and name not in MODELS:
        yield f"model.name: there is no model {name!r}{nearest(name, MODELS)}"


def _first(
    document: Mapping[str, Any], space: Space, fixed: Fixed | None
) -> tuple[tuple[Mapping[str, Scalar], ...], list[str]]:
    """The configurations to start with, as values of dimensions."""
    wanted = fixed.search.first if fixed else ()
    if wanted == "paper":
        wanted = document.get("paper") or ()
        if not wanted:
            return (), ["search.first: is 'paper', but the space marks no configuration as `paper:`"]
    listed = [wanted] if isinstance(wanted, dict) else wanted
    if not isinstance(listed, list | tuple) or not all(isinstance(one, dict) for one in listed):
        return (), [f"paper: got {wanted!r}; give a mapping from names to values, or a list of such"]
    problems: list[str] = []
    starts = tuple(_start(one, space, problems) for one in listed)
    return starts, problems


def _start(given: Mapping[str, Any], space: Space, problems: list[str]) -> dict[str, Scalar]:
    known = {d.name: d.distribution for d in space.dimensions}
    flat = dict(_flat(given, known))
    branch = f"{VARIANTS}.{flat.get(VARIANTS)}."
    start: dict[str, Scalar] = {}
    for name, value in flat.items():
        full = branch + name if branch + name in known else name
        if full not in known:
            problems.append("search.first: " + unknown(name, known))
        elif not known[full].holds(held := as_given(known[full], value)):
            problems.append(f"search.first: {name}: got {value!r}; it must lie in {known[full]}")
        else:
            start[full] = held
    for dimension in space.dimensions:
        for above, branches in dimension.when if dimension.name in start else ():
            start.setdefault(above, branches[0])  # a value in a branch chooses the branch
    base = space.base(start)
    problems += [
        f"search.first: {name} does not exist beside the rest of {given}"
        for name in start
        if name not in base
    ]
    return start


def _flat(given: Mapping[str, Any], known: Container[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """By path; a mapping that is itself one of the values chosen among stays whole."""
    for key, value in given.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict) and not kind_of(value) and path not in known:
            yield from _flat(value, known, path)
        else:
            yield path, value
