"""Turns pydantic's findings into sentences: the path, the value, the rule, and the names that would do."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.spec.distribution import KINDS

MOST_SHOWN = 80  # characters of a value in a message
SCALARS = ("int_type", "float_type", "bool_type", "string_type", "literal_error")  # what is wanted there


def problems_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """One sentence for each place: where several kinds of value would do, their rules are joined."""
    rules: dict[str, str] = {}
    for detail in filter(_counts, error.errors(include_url=False)):
        place, rule = _sentence(detail, model, prefix)
        rules[place] = f"{rules[place]}, or {rule}" if place in rules else rule
    return [place + rule for place, rule in rules.items()]


def unknown(path: str, names: Iterable[str]) -> str:
    """An unknown name, with the nearest valid one first."""
    return f"{path}: there is no such name{nearest(path.rsplit('.', 1)[-1], names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    return f"{hint(name, known)} (valid here: {', '.join(known)})"


def hint(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _sentence(detail: ErrorDetails, model: type[BaseModel], prefix: str) -> tuple[str, str]:
    location = _readable(detail["loc"], model)
    path = ".".join([*([prefix] if prefix else []), *map(str, location)])
    if detail["type"] == "extra_forbidden":
        return unknown(path, _names_at(model, location[:-1])), ""
    if detail["type"] == "missing":
        return f"{path}: is missing; it has no default", ""
    rule = _rule(detail)
    return f"{path}: got {_shown(detail['input'])}; ", rule[:1].lower() + rule[1:]


def _counts(detail: ErrorDetails) -> bool:
    """Pydantic calls a list too short when one of its items is wrong, which is told by itself."""
    return detail["type"] != "too_short" or len(detail["input"]) < detail["ctx"]["min_length"]


def _rule(detail: ErrorDetails) -> str:
    """In words of YAML: it has no tuples, and a mapping of one key was meant as a distribution."""
    kind, given = detail["type"], detail["input"]
    if kind == "tuple_type":
        return "should be a list"
    if kind == "string_type" and isinstance(given, int | float):
        return f"should be a text; put it in quotes: '{given}'"
    if kind == "too_short":
        return f"should have at least {detail['ctx']['min_length']} items"
    if kind == "model_type":
        return "should be a mapping of names to values; {} leaves them at their defaults"
    rule = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind in SCALARS and isinstance(given, dict) and len(given) == 1:
        return f"{rule}, or a distribution: one of {', '.join(KINDS)}"
    return rule


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _readable(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[int | str, ...]:
    """Without the names of union members, which pydantic puts into a location and no YAML has."""
    kept: list[int | str] = []
    here: type[BaseModel] | None = model
    for part in location:
        if here is not None and (isinstance(part, int) or part in _fields(here)):
            kept.append(part)
            here = _below(here, part)
        elif here is not None or isinstance(part, int):
            kept.append(part)
            here = None
    return tuple(kept)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {(field.alias or name): field for name, field in model.model_fields.items()}


def _below(model: type[BaseModel], part: int | str) -> type[BaseModel] | None:
    field = _fields(model).get(str(part))
    if field is None:
        return None
    found = [field.annotation, *get_args(field.annotation)]
    return next((t for t in found if isinstance(t, type) and issubclass(t, BaseModel)), None)


def _names_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    here: type[BaseModel] | None = model
    for part in location:
        here = _below(here, part) if here else None
    return list(_fields(here)) if here else []
