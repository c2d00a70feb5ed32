"""Folds that wait before they are taken up again. To the conductor they run: nobody else takes them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.task import Task


@dataclass
class Pauses:
    """`times` of a fold is what the journal is to keep of the try that has failed."""

    now: Callable[[], float] = time.monotonic
    due: dict[Task, float] = field(default_factory=dict)
    alone: dict[Task, None] = field(default_factory=dict)
    times: dict[Task, Mapping[str, Any]] = field(default_factory=dict)

    def __contains__(self, task: object) -> bool:
        return task in self.times

    def hold(self, task: Task, seconds: float, times: Mapping[str, Any]) -> None:
        self.due[task], self.times[task] = self.now() + seconds, times

    def hold_until_idle(self, task: Task, times: Mapping[str, Any]) -> None:
        self.alone[task], self.times[task] = None, times

    def over(self) -> list[tuple[Task, Mapping[str, Any]]]:
        """Those whose pause has passed; they are forgotten here."""
        ready = [task for task, due in self.due.items() if self.now() >= due]
        for task in ready:
            del self.due[task]
        return [(task, self.times.pop(task)) for task in ready]

    def next_alone(self) -> tuple[Task, Mapping[str, Any]] | None:
        """One that may run now that no other fold does."""
        if not self.alone:
            return None
        task = next(iter(self.alone))
        del self.alone[task]
        return task, self.times.pop(task)
