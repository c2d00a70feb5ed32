"""What the rules share that freeze and thaw: whose slice is next, and when a worker should change over.

A rule gives each configuration a *worth*; the highest goes on. It need not be the one whose fold a worker
holds: that fold is then frozen at its checkpoint, and thawed when its turn has come.
"""

from abc import ABC, abstractmethod

import numpy as np

from engine.race.beliefs import Pattern
from engine.race.believer import Believer
from engine.race.heat import State
from engine.race.none import Choice, Drop, Setting
from engine.race.slices import best_step
from engine.spec import race as spec


class Freezer(Believer, ABC):
    """Opens, continues, freezes. How much anything is worth is the rule's own (`worth`, `fresh`, `over`)."""

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self._steps: dict[tuple[Pattern, int], int] = {}

    @property
    def ripe(self) -> bool:
        """Nothing is thrown away early, so one complete configuration is enough to begin with."""
        return self.forecast.learned and len(self.heat.complete) > 0

    def notice(self, row: int) -> bool:
        learned = super().notice(row)
        if learned:
            self._steps.clear()
        return learned

    @property
    def broad(self) -> bool:
        """Whether every configuration is looked at once before any goes on, now that there are beliefs.

        A first look costs one epoch of one fold; what is never looked at may have been the best. A sampler
        that learns proposes better ones later, and without a limit there would be no end to it.
        """
        return self.limited and not self.setting.learns

    @abstractmethod
    def worth(self) -> np.ndarray:
        """What each configuration's next slice is worth, comparable across configurations."""

    @abstractmethod
    def fresh(self) -> float:
        """What opening a new configuration is worth, on the same scale."""

    def floor(self) -> float:
        """A worker rather waits for the others than take up what is worth no more than this."""
        return -np.inf

    @abstractmethod
    def over(self, rows: np.ndarray) -> bool:
        """Whether none of these unfinished configurations is worth going on with."""

    @abstractmethod
    def hopeless(self, rows: np.ndarray) -> np.ndarray:
        """Which of them are not, each by itself."""

    def drops(self, row: int, fold: int) -> list[Drop]:
        if not self.ripe:
            return []
        rows = self.heat.alive()
        if len(rows) and self.over(rows) and not self._opens():
            return [(int(other), "the study is decided") for other in rows]
        if not self.setting.learns:
            return []
        begun = rows[(self.heat.depth[rows] > 0).any(axis=1)]  # a sampler that learns is told early
        if not len(begun):
            return []
        return [(int(other), "it could hardly be picked") for other in begun[self.hopeless(begun)]]

    def _opens(self) -> bool:
        """Whether another configuration could enter and be worth it."""
        return self.may_open and (self.broad or self.fresh() > -np.inf)

    def choose(self, may_open: bool) -> Choice:
        heat = self.heat
        ready = np.flatnonzero(heat.ready[: heat.count])
        if not self.forecast.learned:
            return super().choose(may_open)
        unseen = ready[~heat.begun[ready]]
        if len(unseen):
            return int(unseen[0]), heat.next_fold(int(unseen[0]))
        if may_open and self.broad:
            return "open"
        worth = self.worth()
        if may_open and self.fresh() > worth[ready].max(initial=-np.inf):
            return "open"
        if not len(ready):
            return None
        row = int(ready[worth[ready].argmax()])
        if worth[row] <= self.floor() and (heat.state[: heat.count] == State.RUNNING).any():
            return None
        return row, self.slice(row)

    def slice(self, row: int) -> int:
        """The free fold of a configuration whose next level tells most per epoch."""
        heat = self.heat
        depth = np.where(heat.state[row] == State.RUNNING, heat.depth[row] + 1, heat.depth[row])
        order = np.argsort(-depth, kind="stable")
        pattern = tuple(np.minimum(depth[order], heat.curves.shape[2]).tolist())
        key = (pattern, int(heat.epochs[row]))
        if key not in self._steps:
            self._steps[key] = best_step(self.forecast.beliefs, pattern, heat.level_epochs(row))
        wanted = pattern[self._steps[key]]
        states, last = heat.state[row].tolist(), int(State.FROZEN)
        free = [k for k in heat.order(row) if states[k] <= last]
        return next((k for k in free if depth[k] == wanted), heat.next_fold(row))

    def freezes(self, row: int, fold: int) -> bool:
        heat = self.heat
        if not self.forecast.learned or heat.audited[row] or heat.state[row, fold] != State.RUNNING:
            return False
        if heat.reached[row, fold] >= heat.epochs[row]:
            return False  # all that is left is to end
        heat.state[row, fold] = State.FROZEN
        ready, heat.ready[row] = bool(heat.ready[row]), True
        choice = self.choose(self.may_open)
        heat.state[row, fold], heat.ready[row] = State.RUNNING, ready
        return choice != (row, fold)
