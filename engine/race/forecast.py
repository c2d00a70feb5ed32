"""The beliefs about a whole heat, kept up to date as it goes: a mean and a variance per configuration."""

import numpy as np
from scipy.special import stdtr

from engine.race.beliefs import Beliefs, Pattern
from engine.race.heat import Heat

FIRST = 10  # levels reached before the model is learned for the first time
FURTHER = 3  # the same, not counting the first level of each configuration
GROWTH = 1.3  # it is learned again when so many times as many of either have been reached
COLUMNS = 12  # a rule that looks more often than that is followed at so many of its levels


class Forecast:
    """One channel of a heat. When it is learned depends on the events alone, so all of it can be replayed."""

    def __init__(self, heat: Heat, channel: int = 0) -> None:
        self.heat, self.channel = heat, channel
        self.width = min(heat.curves.shape[2], COLUMNS)
        self.beliefs = Beliefs(len(heat.folds), self.width)
        self._seen: set[int] = set()
        self._columns: dict[int, np.ndarray] = {}  # by the number of levels
        self.looks = 0
        self.fits = 0
        self._next = float(FIRST)
        self.further = 0  # looks at configurations that had been looked at
        self._next_further = float(FURTHER)
        self.mean = np.zeros(0)
        self.variance = np.zeros(0)

    @property
    def learned(self) -> bool:
        return self.fits > 0

    def look(self, row: int) -> bool:
        """Configuration `row` has reached a level; True when all beliefs were learned anew."""
        self.looks += 1
        self.further += row in self._seen
        self._seen.add(row)
        if self.looks >= self._next or (self.learned and self.further >= self._next_further):
            self._learn()
            return True
        if self.learned:
            self._extend()
            self.mean[row], self.variance[row] = self.final(row)
        return False

    def _learn(self) -> None:
        curves, depth = self._known(slice(0, self.heat.count))
        self.beliefs.learn(curves, depth)
        self.fits += 1
        self._next = max(self.looks + 1, self.looks * GROWTH)
        self._next_further = max(self.further + 1, self.further * GROWTH)
        self.mean, self.variance = self.beliefs.finals(curves, depth)

    def _known(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        curves = self.heat.curves[rows, :, :, self.channel]
        _, first, lengths = np.unique(self.heat.epochs[rows], return_index=True, return_inverse=True)
        columns = np.stack([self.columns(rows.start + int(row)) for row in first])[lengths][:, None, :]
        known = np.take_along_axis(curves, np.broadcast_to(columns, (*curves.shape[:2], self.width)), 2)
        return known, (columns < self.heat.depth[rows][:, :, None]).sum(2)

    def columns(self, row: int) -> np.ndarray:
        """The levels at which this configuration is followed: evenly over its own, its end the last."""
        levels = len(self.heat.level_epochs(row))
        if levels not in self._columns:
            self._columns[levels] = np.linspace(0, levels - 1, self.width).round().astype(int)
        return self._columns[levels]

    def final(self, row: int) -> tuple[float, float]:
        """Mean and variance of one configuration's final mean, fold effects removed."""
        curves = self.heat.curves[row, :, self.columns(row), self.channel].T
        return self.beliefs.final(curves, self._depth(row))

    def _depth(self, row: int) -> np.ndarray:
        """How many of its columns each fold has reached."""
        return np.searchsorted(self.columns(row), self.heat.depth[row])

    def pattern(self, row: int) -> Pattern:
        return tuple(sorted(self._depth(row).tolist(), reverse=True))

    def _extend(self) -> None:
        """Rows for configurations that have entered since: what is believed of one never seen."""
        missing = self.heat.count - len(self.mean)
        if missing > 0:
            mean, variance = self.prior()
            self.mean = np.append(self.mean, np.full(missing, mean))
            self.variance = np.append(self.variance, np.full(missing, variance))

    def prior(self) -> tuple[float, float]:
        nothing = (0,) * self.beliefs.folds
        return float(self.beliefs.effects[:, -1].mean()), self.beliefs.variance(nothing)

    def above(self, rows: np.ndarray, bar: np.ndarray | float) -> np.ndarray:
        """P(final mean > bar) of each row; heavy-tailed while few configurations are complete."""
        self._extend()
        spread = np.sqrt(self.variance[rows]) + 1e-12
        freedom = 3.0 + len(self.heat.complete)
        return np.asarray(stdtr(freedom, (self.mean[rows] - bar) / spread))
