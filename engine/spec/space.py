"""The search space: which leaves of a study are distributions, and what a choice of values turns into.

A leaf is a distribution when it is a mapping of one key among `uniform`, `loguniform`, `int`, `choice`.
`choice` over a mapping opens branches: only the chosen branch's own distributions exist then.
A dimension is named by the path of its leaf, branch names included: `model.acsnet.width`.
"""

import math
import random
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from engine.spec.distribution import (
    Choice,
    Distribution,
    Scalar,
    chosen_of,
    kind_of,
    parse_distribution,
    value_at,
)

SEARCHABLE = ("model", "loss", "train", "augment", "preprocess", "predict")
VARIANTS = "variants"
DRAWN = 32  # settings drawn at random that are looked at beside the corners

Conditions = tuple[tuple[str, tuple[str, ...]], ...]  # (choice, its branches under which something exists)


@dataclass(frozen=True)
class Dimension:
    name: str
    distribution: Distribution
    when: Conditions = ()

    def active(self, params: Mapping[str, Scalar]) -> bool:
        return all(params.get(name) in branches for name, branches in self.when)


def walk(node: Any, path: str = "", when: Conditions = ()) -> Iterator[tuple[str, Any, Conditions]]:
    """Every distribution below `node`, as (name, its mapping, the branches it stands in)."""
    if kind_of(node):
        yield path, node, when
        branches = node.get("choice")
        if isinstance(branches, dict):
            for name, below in branches.items():
                yield from walk(below, f"{path}.{name}", (*when, (path, (str(name),))))
    elif isinstance(node, dict):
        for key, below in node.items():
            yield from walk(below, f"{path}.{key}" if path else str(key), when)


def resolve(node: Any, params: Mapping[str, Scalar], path: str = "") -> Any:
    """The same tree with every distribution replaced by the value chosen for it."""
    if kind_of(node):
        chosen = params[path]
        body = node.get("choice")
        if isinstance(body, dict):
            below = next(v for name, v in body.items() if str(name) == chosen)
            return resolve(below, params, f"{path}.{chosen}")
        return chosen_of(body, chosen) if isinstance(body, list) else chosen
    if isinstance(node, dict):
        return {k: resolve(v, params, f"{path}.{k}" if path else str(k)) for k, v in node.items()}
    return node


def merge(below: Any, above: Any) -> Any:
    """`above` over `below`, mapping by mapping; of both the values are chosen already."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merge(below.get(key), value) for key, value in above.items()}
    return above


def without(node: Any, paths: Container[str], path: str = "") -> Any:
    """The tree without what lies at some paths, so that the rest of a faulty document can be looked at."""
    if not isinstance(node, dict):
        return node
    inside = node["choice"] if kind_of(node) and isinstance(node.get("choice"), dict) else node
    below = {key: f"{path}.{key}" if path else str(key) for key in inside}
    kept = {key: without(inside[key], paths, at) for key, at in below.items() if at not in paths}
    if inside is node:
        return kept
    return {"choice": kept} if kept else None


@dataclass(frozen=True)
class Space:
    """The searchable part of a study's document, and its dimensions in the order they are asked."""

    tree: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Space":
        tree = {name: document[name] for name in SEARCHABLE if name in document}
        if document.get(VARIANTS):
            tree[VARIANTS] = {"choice": document[VARIANTS]}
        found = [Dimension(name, parse_distribution(node), when) for name, node, when in walk(tree)]
        return cls(tree, _without_overridden(tuple(found), tree))

    def sections(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """The concrete sections for these values, a variant's laid over the common ones."""
        own = {k: v for k, v in self.tree.items() if k != VARIANTS}
        if VARIANTS not in self.tree:
            return resolve(own, params)
        chosen = str(params[VARIANTS])
        above = self.tree[VARIANTS]["choice"][chosen] or {}
        hidden = resolve(_prune(own, above), params)
        return merge(hidden, resolve(above, params, f"{VARIANTS}.{chosen}"))

    def active(self, params: Mapping[str, Scalar]) -> tuple[Dimension, ...]:
        return tuple(d for d in self.dimensions if d.active(params))

    def base(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The first end of every dimension that exists, but for the values given."""
        params: dict[str, Scalar] = {}
        for dimension in self.dimensions:
            if dimension.active(params):
                params[dimension.name] = given.get(dimension.name, dimension.distribution.ends()[0])
        return params

    def at(
        self, point: Iterable[float], given: Mapping[str, Scalar] = MappingProxyType({})
    ) -> dict[str, Scalar]:
        """The values at this point of the unit cube of every dimension that exists there, but for those
        given."""
        params: dict[str, Scalar] = {}
        for dimension, share in zip(self.dimensions, point, strict=True):
            if dimension.active(params):
                drawn = value_at(dimension.distribution, float(share))
                params[dimension.name] = given.get(dimension.name, drawn)
        return params

    def probes(self) -> Iterator[dict[str, Scalar]]:
        """Every end of every dimension, under each branch that it can meet; each setting once."""
        seen: set[str] = set()
        for given in self._corners():
            params = self.base(given)
            if (known := repr(params)) not in seen:
                seen.add(known)
                yield params

    def drawn(self) -> Iterator[dict[str, Scalar]]:
        """What lies between the ends, and what meets by chance: two choices may each go with the first end of
        the other and not with each other."""
        generator = random.Random(0)
        for _ in range(DRAWN if self.dimensions else 0):
            yield self.at([generator.random() for _ in self.dimensions])

    def _corners(self) -> Iterator[dict[str, Scalar]]:
        """What fits one branch may not fit another, so each end is tried beside each branch."""
        for branch in self._branches():
            yield branch
            for dimension in self.dimensions:
                if all(branch.get(name, chosen[0]) in chosen for name, chosen in dimension.when):
                    above = {name: chosen[0] for name, chosen in dimension.when} | branch
                    for end in dimension.distribution.ends():
                        yield above | {dimension.name: end}

    def _branches(self) -> Iterator[dict[str, Scalar]]:
        yield {}
        for dimension in self.dimensions:
            if isinstance(dimension.distribution, Choice) and dimension.distribution.branches:
                above: dict[str, Scalar] = {name: chosen[0] for name, chosen in dimension.when}
                yield from (above | {dimension.name: name} for name in dimension.distribution.values)

    @property
    def size(self) -> float:
        """How many configurations there are; infinite with a continuous dimension. What a variant sets itself
        is not asked for under it."""
        own = {k: v for k, v in self.tree.items() if k != VARIANTS}
        variants = self.tree.get(VARIANTS, {"choice": {"": {}}})["choice"].values()
        return sum(_count(_prune(own, above or {})) * _count(above or {}) for above in variants)


def _without_overridden(found: tuple[Dimension, ...], tree: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The variant is asked first; a common leaf that a variant sets itself exists only under the others."""
    variants = tree.get(VARIANTS, {}).get("choice", {})
    first = [d for d in found if d.name == VARIANTS]
    rest = [_restricted(d, variants) for d in found if d.name != VARIANTS]
    return (*first, *(d for d in rest if d is not None))


def _restricted(dimension: Dimension, variants: Mapping[str, Any]) -> Dimension | None:
    if dimension.name.startswith(f"{VARIANTS}."):
        return dimension
    others = tuple(str(name) for name, above in variants.items() if not sets(above or {}, dimension.name))
    if len(others) == len(variants):
        return dimension
    return replace(dimension, when=((VARIANTS, others), *dimension.when)) if others else None


def sets(above: Mapping[str, Any], name: str) -> bool:
    """Whether a variant gives the leaf `name` itself, so that the common value is hidden under it."""
    node: Any = above
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
        if kind_of(node):
            return True
    return True


def _prune(below: Any, above: Any) -> Any:
    """`below` without the leaves that `above` sets, so that nobody asks for their values."""
    if not isinstance(below, dict) or not isinstance(above, dict) or kind_of(below) or kind_of(above):
        return below
    return {
        key: _prune(value, above[key]) if key in above else value
        for key, value in below.items()
        if key not in above
        or (isinstance(value, dict) and isinstance(above[key], dict) and not kind_of(value))
    }


def _count(node: Any) -> float:
    if kind := kind_of(node):
        body = node[kind]
        if kind == "choice" and isinstance(body, dict):
            return sum(_count(below) for below in body.values())
        if kind == "choice":
            return len(body)
        return len(range(body[0], body[1] + 1, *body[2:])) if kind == "int" else math.inf
    return math.prod(map(_count, node.values())) if isinstance(node, dict) else 1
