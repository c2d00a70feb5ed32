"""What becomes of a fold that did not end by itself: taken up again, or given up, or the study stopped.

A lost worker (killed, its node gone) is worth another try, and one that got further since the last loss has
used none up: spot machines come and go. An error of the code is tried once more, but not once it has been
seen on two folds of a configuration; and when configuration after configuration meets the same error, it is
not theirs. A fold that ran out of memory is tried with half of each batch at a time, then with nobody beside
it. Pure: no Ray, no clock.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.errors import SonotuneError, StorageError
from engine.task import Task

SAME_ON_CONFIGURATIONS = 5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a fold is taken up again; doubled at each try

Act = Literal["retry", "retry alone", "give up", "stop the study"]
Kind = Literal["error", "memory", "storage"]

SAID_NO_MEMORY = re.compile(
    r"out of memory|running low on memory|can't allocate memory|cannot allocate memory|not enough memory"
    r"|insufficient memory|can't start new thread|failed to map segment|could not create a primitive"
    r"|ALLOC(ATION)?_FAILED|bad_alloc",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Verdict:
    act: Act
    pause: float = 0.0  # seconds before the fold may be taken up again


@dataclass(frozen=True)
class Diet:
    """How a fold that ran out of memory is tried again."""

    parts: int = 1  # each batch goes through the network in so many more parts
    alone: bool = False  # while no other fold runs


def shared(slots: int, gpu: float) -> bool:
    """Whether a fold would have more memory alone: also the only one of a study is held to its part of a
    GPU."""
    return slots > 1 or 0 < gpu < 1


DIED_STARTING = "raised in its creation task"  # Ray's words for a worker whose own code would not start


def kind_of(error: BaseException) -> Kind:
    """Whether the fold asked for too much, or its storage failed, or its code."""
    if isinstance(error, StorageError):
        return "storage"
    if isinstance(error, MemoryError) or (
        not isinstance(error, SonotuneError) and SAID_NO_MEMORY.search(str(error))
    ):
        return "memory"
    return "error"


@dataclass
class Faults:
    tries: Counter[Task] = field(default_factory=Counter)
    folds_with: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    broken: dict[str, str] = field(default_factory=dict)  # configuration -> the traceback of two of its folds
    diets: dict[Task, Diet] = field(default_factory=dict)

    def gone(self, task: Task, said: str, retries: int, progressed: bool, shared: bool) -> Verdict:
        """The last words of a worker that is gone tell whether it asked for too much, would not start, or was
        only lost."""
        if kind_of(RuntimeError(said)) == "memory":
            return self.memory(task, shared)
        if DIED_STARTING in said:
            return self.error(task, said.strip().splitlines()[-1], retries, said)
        return self.lost(task, retries, progressed)

    def lost(self, task: Task, retries: int, progressed: bool = False) -> Verdict:
        """The worker is gone; the fold's checkpoint is not. `progressed`: an epoch ended since its start. One
        that needs to be alone still does."""
        act: Act = "retry alone" if self.diet(task).alone else "retry"
        if progressed:
            self.tries[task] = 0
            return Verdict(act, FIRST_PAUSE)
        self.tries[task] += 1
        if self.tries[task] > retries:
            return Verdict("give up")
        return Verdict(act, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.tries[task] - 1)))

    def error(self, task: Task, signature: str, retries: int, text: str = "") -> Verdict:
        self.folds_with[task.key, signature].add(task.fold)
        hit = {key for (key, seen), folds in self.folds_with.items() if seen == signature and folds}
        if len(hit) >= SAME_ON_CONFIGURATIONS:
            return Verdict("stop the study")
        if len(self.folds_with[task.key, signature]) > 1:
            self.broken[task.key] = text
            return Verdict("give up")
        return self.lost(task, min(retries, 1))

    def healed(self, task: Task) -> None:
        """The fold is complete: what it met on its way was no error of its configuration."""
        for (key, _), folds in self.folds_with.items():
            if key == task.key:
                folds.discard(task.fold)

    def memory(self, task: Task, shared: bool) -> Verdict:
        """`shared`: alone it would have more."""
        diet = self.diet(task)
        if diet.parts == 1:
            self.diets[task] = replace(diet, parts=2)
            return Verdict("retry")
        if shared and not diet.alone:
            self.diets[task] = replace(diet, alone=True)
            return Verdict("retry alone")
        return Verdict("give up")

    def alone(self, tasks: Collection[Task]) -> bool:
        """Whether one of these is to have nobody beside it."""
        return any(diet.alone and task in tasks for task, diet in self.diets.items())

    def diet(self, task: Task) -> Diet:
        return self.diets.get(task, Diet())
