"""Hands (configuration, fold) tasks to Ray Tune, one trial each, as the conductor names them."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from engine.conductor import Conductor
from engine.driver.faults import Diet
from engine.errors import SonotuneError
from engine.task import Task


class TaskSearcher(Searcher):
    """`suggest` gives a task only when a slot is free: what a fold should be is decided when it starts.

    Tune calls it in every round of its loop.
    """

    def __init__(
        self,
        conductor: Conductor,
        slots: Callable[[], int],
        lose: Callable[[bool], bool] = lambda wait: False,
    ) -> None:
        """`lose` tells the conductor what earlier results are damaged, and whether there were any."""
        super().__init__(metric="score", mode="max")
        self.conductor, self.slots, self.lose = conductor, slots, lose
        self.tasks: dict[str, Task] = {}
        self.closing = False
        self.idle = False  # whether a slot was free and there was nothing for it
        self.waiting: Task | None = None
        self.error: SonotuneError | None = None
        self.diet: Callable[[Task], Diet] = lambda task: Diet()
        self.alone: Callable[[Collection[Task]], bool] = lambda tasks: False
        self.before_each: Callable[[], None] = lambda: None
        self.when_idle: Callable[[], bool] = lambda: False

    def anything(self) -> bool:
        """Whether there is work at all: Tune cannot end an experiment that never had a trial."""
        self.waiting = self._next()
        return self.waiting is not None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        self.before_each()
        if self.closing:
            return None if self.tasks else Searcher.FINISHED
        try:
            return self._suggest(trial_id)
        except SonotuneError as error:
            self.error, self.closing = error, True
            return None

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self.conductor.flush()
        self.lose(False)
        if len(self.tasks) >= self._most():
            return None
        task = self._next()
        self.idle = task is None
        if task is not None and self.diet(task).alone and self.tasks:
            self.waiting = task  # frozen when it was alone, and thawed while others run
            return None
        if task is not None:
            self.tasks[trial_id] = task
            record, diet = json.dumps(self.conductor.configuration_of(task).record()), self.diet(task)
            heard = self.conductor.ledger.heard.get(task, 0)
            return {"key": task.key, "fold": task.fold, "record": record, "heard": heard, **asdict(diet)}
        return Searcher.FINISHED if self.conductor.done is not None and not self.tasks else None

    def _most(self) -> int:
        """A fold that is to be alone has nobody beside it."""
        return 1 if self.alone(self.tasks.values()) else self.slots()

    def _next(self) -> Task | None:
        task, self.waiting = self.waiting or self.conductor.next(), None
        if task is None and not self.tasks and self.when_idle():
            task = self.conductor.next()
        if task is None and not self.tasks and self.lose(True):
            task = self.conductor.next()
        return task

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The scheduler has told the conductor already."""
        self.tasks.pop(trial_id, None)

    def trial_of(self, task: Task) -> str | None:
        return next((trial for trial, running in self.tasks.items() if running == task), None)

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its tuner at the start; the journal is our state."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""
