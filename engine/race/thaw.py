"""`thaw`: work goes to the slice drawn by Thompson sampling; what promises less is frozen, not thrown away."""

import numpy as np

from engine.race.forecast import Forecast
from engine.race.heat import State
from engine.race.none import Choice, Drop, Setting, TrainAll
from engine.spec import race as spec


class Thaw(TrainAll):
    name = "thaw"
    stops = True

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.forecast = Forecast(self.heat)
        self.decided = False

    def levels(self, epochs: int) -> np.ndarray:
        first = min(self.settings.min_epochs, epochs)
        return np.rint(np.geomspace(first, epochs, self.settings.looks)).astype(int)

    def drops(self, row: int, fold: int) -> list[Drop]:
        self.forecast.look(row)
        heat = self.heat
        if len(heat.complete) < self.settings.warmup:
            return []
        rows = heat.alive()
        if not len(rows):
            return []
        best = heat.means[heat.complete, 0].max()
        margin = self.settings.tolerance * self.forecast.beliefs.noise
        above = self.forecast.above(rows, best + margin)
        if 1 - np.prod(1 - above) < self.settings.delta:
            return [(int(row), "the study is decided") for row in rows]
        return []

    def choose(self, may_open: bool) -> Choice:
        heat = self.heat
        if may_open:
            return "open" if not heat.ready[: heat.count].any() else self._first() or "open"
        ready = np.flatnonzero(heat.ready[: heat.count])
        if not len(ready):
            return None
        first = self._first()
        if first:
            return first
        self.forecast.extend()
        draw = self.draws()
        row = int(ready[draw[ready].argmax()])
        return row, self.slice(row)

    def _first(self):
        fresh = np.flatnonzero(
            self.heat.ready[: self.heat.count] & (self.heat.depth[: self.heat.count].sum(1) == 0)
        )
        fresh = [r for r in fresh if not (self.heat.state[r] == State.RUNNING).any()]
        return (int(fresh[0]), self.heat.next_fold(int(fresh[0]))) if len(fresh) else None

    def draws(self) -> np.ndarray:
        rng = np.random.default_rng([self.setting.seed, self.forecast.looks])
        return self.forecast.mean + np.sqrt(self.forecast.variance) * rng.standard_normal(
            len(self.forecast.mean)
        )

    def slice(self, row: int) -> int:
        """The fold whose next level tells most per epoch."""
        heat, b = self.heat, self.forecast.beliefs
        levels = heat.level_epochs(row)
        depth = heat.depth[row].copy()
        best, choice = -1.0, None
        for k in heat.order(row):
            if heat.state[row, k] > State.FROZEN:
                continue
            d = depth[k]
            cost = levels[d] - (levels[d - 1] if d else 0)
            after = depth.copy()
            after[k] += 1
            gain = (
                b.weights(tuple(np.sort(depth)[::-1].tolist())).variance
                - b.weights(tuple(np.sort(after)[::-1].tolist())).variance
            )
            if gain / cost > best:
                best, choice = gain / cost, k
        return choice

    def freezes(self, row: int, fold: int) -> bool:
        heat = self.heat
        if heat.count and (heat.depth[: heat.count].sum(1) == 0).any():
            return True
        draw = self.draws()
        ready = heat.ready[: heat.count].copy()
        ready[row] = True
        rows = np.flatnonzero(ready)
        best = int(rows[draw[rows].argmax()])
        if best != row:
            return True
        heat.state[row, fold] = State.FROZEN
        choice = self.slice(row)
        heat.state[row, fold] = State.RUNNING
        return choice != fold
