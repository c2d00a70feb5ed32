"""Distributions: what a searched leaf may be, read from its mapping of one key."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("uniform", "loguniform", "int", "choice")

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Uniform:
    low: float
    high: float
    log: bool = False

    def holds(self, value: Scalar) -> bool:
        return _is_number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def ends(self) -> tuple[Scalar, ...]:
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{'loguniform' if self.log else 'uniform'} [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Int:
    low: int
    high: int
    step: int = 1

    def holds(self, value: Scalar) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high and (value - self.low) % self.step == 0  # type: ignore[operator]

    def ends(self) -> tuple[Scalar, ...]:
        return (self.low, self.low + (self.high - self.low) // self.step * self.step)

    def __str__(self) -> str:
        return f"int [{self.low}, {self.high}]" + (f" in steps of {self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class Choice:
    """`values` are scalars, or JSON text where the YAML gives lists or mappings, or names of branches."""

    values: tuple[Scalar, ...]
    branches: bool = False

    def holds(self, value: Scalar) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)

    def ends(self) -> tuple[Scalar, ...]:
        return self.values

    def __str__(self) -> str:
        return "choice of " + ", ".join(map(str, self.values))


Distribution = Uniform | Int | Choice


def value_at(distribution: Distribution, share: float) -> Scalar:
    """The value that lies at this share, in [0, 1), of the distribution."""
    if isinstance(distribution, Choice):
        return distribution.values[int(share * len(distribution.values))]
    if isinstance(distribution, Int):
        steps = (distribution.high - distribution.low) // distribution.step + 1
        return distribution.low + distribution.step * int(share * steps)
    low, high = distribution.low, distribution.high
    value = math.exp(_between(math.log(low), math.log(high), share)) if distribution.log else _between(
        low, high, share
    )  # fmt: skip
    return min(max(value, low), high)


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def as_given(distribution: Distribution, value: Any) -> Any:
    """A value as people write it, as the distribution holds it: a list, the number of a branch, 0 for 0.0."""
    if not isinstance(distribution, Choice):
        return value
    if distribution.branches:
        return str(value)
    scalar = _as_scalar(value)
    same = (known for known in distribution.values if known == scalar and not isinstance(known, bool))
    return scalar if distribution.holds(scalar) or isinstance(scalar, bool) else next(same, scalar)


class Malformed(ValueError):
    """A distribution that is none; the loader turns it into a message with the path."""


def kind_of(node: Any) -> str | None:
    if isinstance(node, dict) and len(node) == 1:
        (key,) = node
        return key if key in KINDS else None
    return None


def parse_distribution(node: Mapping[str, Any]) -> Distribution:
    ((kind, body),) = node.items()
    if kind == "choice":
        return _choice(body)
    if kind == "int":
        return _int(body)
    low, high = _bounds(kind, body, 2)
    if kind == "loguniform" and low <= 0:
        raise Malformed(f"loguniform needs a lower bound above 0, got {low}")
    return Uniform(float(low), float(high), log=kind == "loguniform")


def _choice(body: Any) -> Choice:
    if isinstance(body, dict) and body:
        return Choice(tuple(map(str, body)), branches=True)
    if not isinstance(body, list) or not body:
        raise Malformed("choice needs a list of values or a mapping of branches, with at least one of them")
    values = tuple(_as_scalar(value) for value in body)
    if len(set(map(repr, values))) < len(values):
        raise Malformed(f"choice repeats a value: {body}")
    return Choice(values)


def _int(body: Any) -> Int:
    low, high, *step = _bounds("int", body, 3)
    if not all(isinstance(v, int) for v in body) or (step and step[0] < 1):
        raise Malformed(f"int needs whole numbers and a step of at least 1, got {body}")
    return Int(int(low), int(high), int(step[0]) if step else 1)


def _bounds(kind: str, body: Any, most: int) -> list[Any]:
    if not isinstance(body, list) or not 2 <= len(body) <= most or not all(map(_is_number, body)):
        raise Malformed(f"{kind} needs [low, high] as numbers, got {body!r}")
    if not body[0] < body[1]:
        raise Malformed(f"{kind} needs low < high, got [{body[0]}, {body[1]}]")
    return body


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def chosen_of(values: list[Any], chosen: Scalar) -> Any:
    """Choices travel as scalars; the YAML may have lists there, and 1 is not true."""
    given = [(value, _as_scalar(value)) for value in values]
    return next((v for v, scalar in given if scalar == chosen and type(scalar) is type(chosen)), chosen)


def _as_scalar(value: Any) -> Scalar:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
