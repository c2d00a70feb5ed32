"""Hours of wall clock and of GPUs that a study has used, over all stretches in which it ran."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.spec.search import Budget
from engine.task import Task

HOUR = 3600.0


class Spent:
    """`clock` in the journal is the second of its stretch at which a fold ended, `held` how long it ran."""

    def __init__(
        self,
        budget: Budget,
        gpus: float,
        records: Iterable[Mapping[str, Any]] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.gpus, self.now = budget, gpus, now
        self.before, self.held = earlier(records)
        self.began = now()
        self.starts: dict[Task, float] = {}

    def start(self, task: Task) -> None:
        self.starts[task] = self.now()

    def end(self, task: Task) -> dict[str, float]:
        """What the journal keeps of a fold's time."""
        held = self.now() - self.starts.pop(task, self.now())
        self.held += held
        return {"clock": round(self.now() - self.began, 3), "held": round(held, 3)}

    def over(self) -> str | None:
        """Why nothing more may be started."""
        hours = (self.before + self.now() - self.began) / HOUR
        running = sum(self.now() - start for start in self.starts.values())
        gpu_hours = self.gpus * (self.held + running) / HOUR
        if self.budget.hours is not None and hours >= self.budget.hours:
            return f"the budget of {self.budget.hours:g} hours is spent"
        if self.budget.gpu_hours is not None and gpu_hours >= self.budget.gpu_hours:
            return f"the budget of {self.budget.gpu_hours:g} GPU-hours is spent"
        return None


def earlier(records: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds of all earlier stretches, and seconds that their folds held a worker."""
    total = stretch = held = 0.0
    for record in records:
        if record["event"] == "resumed":
            total, stretch = total + stretch, 0.0
        stretch = max(stretch, record.get("clock", 0.0))
        held += record.get("held", 0.0)
    return total + stretch, held
