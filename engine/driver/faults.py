"""What becomes of a fold that did not end by itself: taken up again, or given up, or the study stopped.

A lost worker (killed, out of memory, node gone) is worth another try. An error of the code is not, once it
has been seen on two folds of a configuration; and when configuration after configuration meets the same
error, it is not theirs.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

from engine.task import Task

SAME_ON_CONFIGURATIONS = 5

Verdict = Literal["retry", "give up", "stop the study"]


@dataclass
class Faults:
    tries: Counter[Task] = field(default_factory=Counter)
    folds_with: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    def lost(self, task: Task, retries: int) -> Verdict:
        """The worker is gone; the fold's checkpoint is not."""
        self.tries[task] += 1
        return "retry" if self.tries[task] <= retries else "give up"

    def error(self, task: Task, signature: str, retries: int) -> Verdict:
        self.folds_with[task.key, signature].add(task.fold)
        hit = {key for key, seen in self.folds_with if seen == signature}
        if len(hit) >= SAME_ON_CONFIGURATIONS:
            return "stop the study"
        if len(self.folds_with[task.key, signature]) > 1:
            return "give up"
        return self.lost(task, min(retries, 1))
