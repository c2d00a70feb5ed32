"""What rules share that stop configurations and never pause them."""

import numpy as np

from engine.race.heat import Heat, State
from engine.race.none import Choice, TrainAll


class Marks:
    """What rows had reached at one place, in a flat array: thousands of rivals are asked at every look."""

    def __init__(self) -> None:
        self.scores = np.full(16, np.nan)

    def add(self, row: int, score: float) -> None:
        if row >= len(self.scores):
            self.scores = np.pad(self.scores, (0, max(row, len(self.scores))), constant_values=np.nan)
        self.scores[row] = score

    def of_rivals(self, row: int, heat: Heat) -> np.ndarray:
        """Of all others but those that may not be picked."""
        there = np.flatnonzero(~np.isnan(self.scores))
        return self.scores[there[(there != row) & ~heat.unfit[there]]]


class Stopper(TrainAll):
    """A configuration takes its folds one after the other as long as there is other work for the workers."""

    stops = True

    def choose(self, may_open: bool) -> Choice:
        """Configurations already begun first. A sampler that learns is not asked while any fold waits."""
        heat = self.heat
        ready = heat.ready[: heat.count]
        if not ready.any() or self.setting.learns:
            return super().choose(may_open)
        idle = ready & ~(heat.state[: heat.count] == State.RUNNING).any(axis=1)
        if idle.any():
            row = int(idle.argmax())
            return row, heat.next_fold(row)
        return "open" if may_open else super().choose(False)

    def finished(self, row: int) -> np.ndarray:
        """Folds of a configuration that have ended well, as a mask."""
        return np.asarray(self.heat.state[row] == State.COMPLETE)

    def incumbent(self, row: int) -> int | None:
        """The best complete configuration but this one."""
        heat, count = self.heat, self.heat.count
        others = heat.done[:count] & ~heat.unfit[:count]
        others[row] = False
        return int(np.where(others, heat.means[:count, 0], -np.inf).argmax()) if others.any() else None

    def running_mean(self, row: int, fold: int) -> float:
        """Mean best score over the finished folds and this one."""
        mask = self.finished(row)
        mask[fold] = True
        return float(self.heat.best[row, mask, 0].mean())
