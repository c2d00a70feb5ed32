"""The JSON Schema of a search space: the sections' own schemas, with a distribution allowed at each leaf."""

import copy
from typing import Any

from engine.spec.distribution import KINDS
from engine.spec.space import SEARCHABLE
from engine.spec.study import Configuration, Fixed

AROUND = ("default", "description", "title")
DISTRIBUTION = {"$ref": "#/$defs/Distribution"}


def study_schema() -> dict[str, Any]:
    fixed = Fixed.model_json_schema(by_alias=True)
    searched = Configuration.model_json_schema(by_alias=True)
    definitions = {name: _leaves_may_vary(body) for name, body in searched.pop("$defs", {}).items()}
    sections = {name: _or_distribution(body) for name, body in searched["properties"].items()}
    properties = fixed["properties"] | sections | _own(sections)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sonotune search space",
        "type": "object",
        "additionalProperties": False,
        "required": ["study"],
        "properties": properties,
        "$defs": fixed.pop("$defs", {}) | definitions | {"Distribution": _distribution()},
    }


def _leaves_may_vary(definition: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(definition)
    changed["properties"] = {n: _or_distribution(b) for n, b in definition.get("properties", {}).items()}
    changed.pop("required", None)
    return changed


def _or_distribution(body: dict[str, Any]) -> dict[str, Any]:
    outside: dict[str, Any] = {name: body[name] for name in AROUND if name in body}
    inside = {name: value for name, value in body.items() if name not in outside}
    return {"anyOf": [inside, DISTRIBUTION], **outside}


def _own(sections: dict[str, Any]) -> dict[str, Any]:
    variant = {"type": ["object", "null"], "properties": sections, "additionalProperties": False}
    return {
        "variants": {
            "description": "Named alternatives; the chosen one's sections are laid over the common ones.",
            "type": "object",
            "additionalProperties": variant,
        },
        "profiles": {
            "description": "Named sets of flat overrides, for --profile.",
            "type": "object",
            "additionalProperties": {"type": "object"},
        },
        "paper": {
            "description": "The values that a paper printed, for `search.first: paper`.",
            "type": ["object", "array"],
        },
    }


def _distribution() -> dict[str, Any]:
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    bodies = {
        "uniform": pair,
        "loguniform": pair,
        "int": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
        "choice": {"anyOf": [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]},
    }
    return {
        "description": f"A value to search: one of {', '.join(KINDS)}.",
        "type": "object",
        "properties": bodies,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


assert set(SEARCHABLE) == set(Configuration.model_fields)
