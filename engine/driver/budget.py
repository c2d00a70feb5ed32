"""Hours of wall clock and of GPUs that a study has used, over all stretches in which it ran."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.journal.held import stretches
from engine.spec.search import Budget
from engine.task import Task

HOUR = 3600.0


class Spent:
    """In the journal, `clock` is the second of its stretch at which a fold reported or ended, `held` how long
    it had held its worker by then, and `gpus` the worker's share of one, which a resume may change."""

    def __init__(
        self,
        budget: Budget,
        gpus: float,
        records: Sequence[Mapping[str, Any]] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.gpus, self.now = budget, gpus, now
        self.before, self.gpu_seconds = earlier(records, gpus)
        self.began = now()
        self.starts: dict[Task, float] = {}

    def start(self, task: Task) -> None:
        self.starts[task] = self.now()

    def end(self, task: Task) -> dict[str, float]:
        """What the journal keeps of a fold's time."""
        times = self.so_far(task)
        self.starts.pop(task, None)
        self.gpu_seconds += self.gpus * times["held"]
        return times

    def so_far(self, task: Task) -> dict[str, float]:
        """A driver that is killed has told no end of what it ran."""
        now = self.now()
        times = {"clock": round(now - self.began, 3), "held": round(now - self.starts.get(task, now), 3)}
        return times | ({"gpus": self.gpus} if self.gpus else {})

    def over(self) -> str | None:
        """Why nothing more may be started."""
        hours = (self.before + self.now() - self.began) / HOUR
        running = sum(self.now() - start for start in self.starts.values())
        gpu_hours = (self.gpu_seconds + self.gpus * running) / HOUR
        if self.budget.hours is not None and hours >= self.budget.hours:
            return f"the budget of {self.budget.hours:g} hours is spent"
        if self.budget.gpu_hours is not None and gpu_hours >= self.budget.gpu_hours:
            return f"the budget of {self.budget.gpu_hours:g} GPU-hours is spent"
        return None


def earlier(records: Sequence[Mapping[str, Any]], gpus: float) -> tuple[float, float]:
    """Seconds of all earlier stretches, and GPU-seconds that their folds held; `gpus` where nothing says."""
    total = stretch = 0.0
    for record in records:
        if record["event"] == "resumed":
            total, stretch = total + stretch, 0.0
        stretch = max(stretch, record.get("clock", 0.0))
    held = (one.seconds * (gpus if one.gpus is None else one.gpus) for one in stretches(records))
    return total + stretch, sum(held)
