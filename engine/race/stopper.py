"""What rules share that stop configurations and never pause them."""

import numpy as np

from engine.race.heat import State
from engine.race.none import Choice, TrainAll


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
        others = [other for other in self.heat.complete if other != row]
        return max(others, key=lambda other: float(self.heat.means[other, 0])) if others else None

    def running_mean(self, row: int, fold: int) -> float:
        """Mean best score over the finished folds and this one."""
        mask = self.finished(row)
        mask[fold] = True
        return float(self.heat.best[row, mask, 0].mean())
