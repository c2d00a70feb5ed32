"""The beliefs about a whole heat, kept up to date as it goes: a mean and a variance per configuration."""

import numpy as np
from scipy.special import stdtr

from engine.race.beliefs import SAMPLE, Beliefs
from engine.race.heat import Heat

FIRST = 10  # levels reached before the model is learned for the first time
GROWTH = 1.3  # it is learned again when so many times as many are known


class Forecast:
    """One channel of a heat. Everything here can be computed again from the events alone."""

    def __init__(self, heat: Heat, channel: int = 0) -> None:
        self.heat, self.channel = heat, channel
        self.beliefs = Beliefs(len(heat.folds), heat.curves.shape[2])
        self.looks = 0
        self._next = float(FIRST)
        self.mean = np.zeros(0)
        self.variance = np.zeros(0)

    def look(self, row: int) -> None:
        """Configuration `row` has reached a level."""
        self.looks += 1
        if self.looks >= self._next:
            self._learn()
        else:
            self._update(row)

    def _learn(self) -> None:
        if (self.heat.depth[: self.heat.count].sum() < SAMPLE * 40) or not self.beliefs.learned:
            self.beliefs.learn(self._curves(), self.heat.depth[: self.heat.count])
        self._next = max(self._next + 1, self.looks * GROWTH)
        self.mean, self.variance = self.beliefs.finals(self._curves(), self.heat.depth[: self.heat.count])

    def _curves(self) -> np.ndarray:
        return self.heat.curves[: self.heat.count, :, :, self.channel]

    def _update(self, row: int) -> None:
        self.extend()
        if self.beliefs.learned:
            found = self.beliefs.final(self.heat.curves[row, :, :, self.channel], self.heat.depth[row])
            self.mean[row], self.variance[row] = found

    def extend(self) -> None:
        """Rows for configurations that have entered since."""
        missing = self.heat.count - len(self.mean)
        if missing > 0:
            prior = self.beliefs.weights(()).variance
            center = float(self.beliefs.effects[:, -1].mean())
            self.mean = np.append(self.mean, np.full(missing, center))
            self.variance = np.append(self.variance, np.full(missing, prior))

    def above(self, rows: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
        """P(final mean > threshold) of each row; heavy-tailed while few configurations are complete."""
        spread = np.sqrt(self.variance[rows]) + 1e-12
        freedom = 3.0 + len(self.heat.complete)
        return stdtr(freedom, (self.mean[rows] - threshold) / spread)
