"""Spaces and searches for the tests of samplers: asked for side by side, told made-up scores."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.sampler.sampler import Asked, Past, Sampler
from engine.spec.search import Search
from engine.spec.space import Space

SMOOTH = Space.of(
    {"train": {"a": {"uniform": [0, 1]}, "b": {"loguniform": [1e-3, 1]}, "c": {"int": [0, 20]}}}
)
LISTED = Space.of({"train": {"a": {"choice": [1, 2, 3]}, "c": {"int": [0, 20, 5]}}})
BRANCHED = Space.of(
    {
        "model": {
            "choice": {"acsnet": {"width": {"int": [8, 64, 8]}}, "mtl_oca": {"alpha": {"uniform": [0, 1]}}}
        },
        "loss": {"lambda": {"uniform": [0, 1]}, "kind": {"choice": ["dice", "focal"]}},
    }
)
BRANCHED_LISTED = Space.of(
    {
        "model": {"choice": {"x": {"width": {"int": [1, 3]}}, "y": {}}},
        "train": {"k": {"choice": [True, None]}},
    }
)
TWO: dict[str, Any] = {"objective": ["dice", "f1_macro"]}


def search_for(name: str, **given: Any) -> Search:
    return Search(sampler=name, **({**TWO, **given} if name == "motpe" else given))  # type: ignore[arg-type]


def make(name: str, space: Space, seed: int = 0, first: Sequence[dict] = (), **given: Any) -> Sampler:
    return Sampler(search_for(name, **given), space, seed, first=first)


def score(params: dict[str, Any]) -> float:
    return float(np.sin(sum(hash_free(name, value) for name, value in params.items())))


def hash_free(name: str, value: Any) -> float:
    return sum(map(ord, f"{name}={value}")) / 100


def run_parallel(
    sampler: Sampler, count: int, values: Callable[[dict], list[float]], slots: int = 3
) -> list[dict]:
    """Several configurations open at once, told in another order, some pruned and some failed."""
    records: list[dict] = []
    pending: list[Asked] = []
    for _ in range(count):
        asked = sampler.ask()
        if asked is None:
            break
        records.append({"event": "asked", "number": asked.number, "params": asked.params})
        pending.append(asked)
        if len(pending) == slots:
            one = pending.pop(asked.number % slots)
            state = "failed" if one.number % 7 == 3 else "pruned" if one.number % 3 == 1 else "complete"
            told = None if state == "failed" else values(one.params)
            sampler.tell(one.number, told, state)  # type: ignore[arg-type]
            records.append({"event": "told", "number": one.number, "values": told, "state": state})
    return json.loads(json.dumps(records))


def replay(sampler: Sampler, records: Iterable[Mapping[str, Any]]) -> None:
    """As a ledger goes through a journal; `told` stands for the ends of folds, which lead to the same."""
    for record in records:
        if record["event"] == "warm":
            sampler.warm(Past(**one) for one in record["past"])
        elif record["event"] == "asked":
            sampler.ask_again(record["params"])
        elif record["event"] == "told":
            sampler.tell(record["number"], record["values"], record["state"])


def values_for(sampler: Sampler) -> Callable[[dict], list[float]]:
    return lambda params: [score(params), score(params | {"x": 1})][: sampler._values]
