"""Nested designs: once the race is over, each outer fold's pick is trained on what that fold does not test.

Inner folds choose, outer folds judge: no case of an outer test part has had a say in what is tested on it.
Pure, like the race: events in, the next task out.
"""

from collections.abc import Iterable, Sequence

from engine.race.events import Ended, Event, Lost, Started
from engine.task import Task

OVER = ("complete", "diverged", "failed")


class Finals:
    def __init__(self, folds: Sequence[str]) -> None:
        self.folds = tuple(folds)
        self.running: set[Task] = set()
        self.over: set[Task] = set()

    def knows(self, task: Task) -> bool:
        return task.fold in self.folds

    def apply(self, event: Event) -> None:
        """Reports change nothing: nobody races here."""
        if isinstance(event, Started):
            self.running.add(event.task)
        elif isinstance(event, Lost):
            self.over.discard(event.task)
        elif isinstance(event, Ended):
            self.running.discard(event.task)
            if event.status in OVER:
                self.over.add(event.task)

    def next(self, chains: Iterable[Sequence[Task]]) -> Task | None:
        """The first task that nobody has in hand; a chain (a first stage, then its user) goes in turn."""
        for chain in chains:
            left = [task for task in chain if task not in self.over]
            if left and left[0] not in self.running:
                return left[0]
        return None
