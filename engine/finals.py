"""Nested designs: once the race is over, each outer fold's pick is trained on what that fold does not test.

Inner folds choose, outer folds judge: no case of an outer test part has had a say in what is tested on it.
Pure, like the race: events in, the next task out.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from engine.picking import RULES, Evidence, outer_rule
from engine.proposals import Proposals
from engine.race.events import Ended, Event, Lost, Started
from engine.spec.study import Study
from engine.task import Task

FAILED = ("diverged", "failed")
OVER = ("complete", *FAILED)


class Finals:
    """`ratio`: validation cases for each training case, which `lower_bound` reads."""

    def __init__(self, folds: Sequence[str] = (), ratio: float = 0.0) -> None:
        self.folds, self.ratio = tuple(folds), ratio
        self.running: set[Task] = set()
        self.over: set[Task] = set()
        self.failed: set[Task] = set()

    def knows(self, task: Task) -> bool:
        return task.fold in self.folds

    def apply(self, event: Event) -> None:
        """Reports change nothing: nobody races here."""
        if isinstance(event, Started):
            self.running.add(event.task)
        elif isinstance(event, Lost):
            self.over.discard(event.task)
            self.failed.discard(event.task)
        elif isinstance(event, Ended):
            self.running.discard(event.task)
            if event.status in OVER:
                self.over.add(event.task)
            if event.status in FAILED:
                self.failed.add(event.task)

    def next(self, proposals: Proposals) -> Task | None:
        """The first task that nobody has in hand; a chain (a first stage, then its user) goes in turn, and
        ends with what fails in it."""
        for chain in self._chains(proposals):
            left = [task for task in chain if task not in self.over and self.failed.isdisjoint(chain)]
            if left and left[0] not in self.running:
                return left[0]
        return None

    def _chains(self, proposals: Proposals) -> Iterator[list[Task]]:
        for outer in self.folds:
            key = pick(proposals, outer, self.ratio)
            if key is not None:
                keys = (proposals.entries[key].stage_key, key)
                yield [Task(each, outer) for each in keys if each is not None]


def pick(proposals: Proposals, outer: str | None, ratio: float) -> str | None:
    """What the study's rule picks among the complete configurations that fit; of an outer fold by its inner
    folds alone."""
    race = proposals.race
    configs, heat = race.field.configs, race.rules[outer].heat
    rows = [row for row in sorted(heat.complete) if proposals.fits(configs[row])]
    if not rows:
        return None
    select, names = proposals.study.fixed.select, objectives_of(proposals.study)
    best = heat.best[rows]  # [configs, folds, channels], the score first
    wanted = [names.index(name) for name in select.metrics or names if name in names]
    each = best if race.field.channels == 1 else best[..., 1:]
    several = np.moveaxis(each[..., wanted], -1, 0)
    evidence = Evidence(best[..., 0], several, heat.cost[rows], ratio, select.confidence)
    return configs[rows[int(RULES[outer_rule(select, names)](evidence))]]


def objectives_of(study: Study) -> tuple[str, ...]:
    """The metrics of which each fold's own value is known; none under a weighted sum."""
    search, predict = study.fixed.search, study.document.get("predict")
    refined = isinstance(predict, Mapping) and predict.get("refine") is True
    prefix = "refined_" if refined else ""
    return () if isinstance(search.objective, dict) else tuple(prefix + name for name in search.objectives)
