"""Whether the files of a run folder have the shape that a report reads them by.

A folder may be of another program or edited by hand. What is not as expected is said once, at the door.
"""

import json
from collections.abc import Mapping
from typing import Any

from engine.results import RunPaths
from engine.spec import text

PARTS = ("train", "validation", "test")


def mapping(data: bytes) -> Mapping[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not a mapping")
    return value


def manifest(data: bytes) -> Mapping[str, Any]:
    """Folds and outer folds by name, each with lists of cases; warnings and notes as lists."""
    found = mapping(data)
    for part in ("folds", "finals"):
        for number, row in enumerate(_listed(found, part)):
            if not isinstance(row, dict) or not isinstance(row.get("name"), str):
                raise ValueError(f"{part}[{number}] is no fold with a name")
            for cases in PARTS:
                if not all(isinstance(case, str) for case in _listed(row, cases, f"{part}[{number}].")):
                    raise ValueError(f"{part}[{number}].{cases} names a case by something else than a text")
    for part in ("warnings", "notes"):
        _listed(found, part)
    return found


def _listed(of: Mapping[str, Any], name: str, where: str = "") -> list[Any]:
    value = of.get(name) or []
    if not isinstance(value, list):
        raise ValueError(f"{where}{name} is a {type(value).__name__}, not a list")
    return value


def study(data: bytes) -> Mapping[str, Any]:
    """The numbers by which a search judged: weights of its objective, bounds of its constraints."""
    found = text.mapping(data.decode(), RunPaths.study)
    search = found.get("search")
    for name in ("objective", "constraints"):
        given = search.get(name) if isinstance(search, Mapping) else None
        for key, value in given.items() if isinstance(given, Mapping) else ():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ValueError(f"search.{name}.{key} is {value!r}, not a number")
    return found
