"""How long folds have held their workers, as the journal tells: until its end, or the last epoch heard of."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stretch:
    """From a worker's taking a fold up to its laying it down; `gpus` is its share of one, where known."""

    key: str
    seconds: float
    gpus: float | None


def stretches(records: Iterable[Mapping[str, Any]]) -> list[Stretch]:
    """Each report says how long it has been so far, so that the last one counts."""
    last: dict[tuple[str, str, int], Stretch] = {}
    begun: Counter[tuple[str, str]] = Counter()
    for record in records:
        task = record.get("task")
        if not isinstance(task, Mapping):
            continue
        key, fold = str(task.get("key")), str(task.get("fold"))
        begun[key, fold] += record.get("event") == "started"
        if record.get("held") is not None:
            seconds, gpus = float(record["held"]), record.get("gpus")
            last[key, fold, begun[key, fold]] = Stretch(key, seconds, gpus)
    return list(last.values())
