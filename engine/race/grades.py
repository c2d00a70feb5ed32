"""What a training that opens slice by slice is worth beyond its expected final mean: its *grade*.

Each slice costs something, moves the expected final mean by an unknown amount, and may be the last: whoever
looks may give up after any of them, and only a configuration with all its folds can be picked. The grade
r is the score in hand at which beginning (or going on) is just not worth it, by the best plan of giving up;
to take the highest grade first, and to end when what is in hand is above all of them, is optimal for boxes
opened in stages (Weitzman 1979; Dumitriu, Tetali and Winkler 2003). Expected means are taken to be Gaussian
walks of known steps, so the grade is the mean plus a premium that the levels reached determine: one backward
pass along the slices to come.
"""

import numpy as np
from scipy.special import ndtr

from engine.race.beliefs import Beliefs, Pattern
from engine.race.slices import advance, best_step, cost

REACH = 8.0  # deviations on either side within which values are kept
KNOTS = np.sinh(np.linspace(-5.0, 5.0, 161)) / np.sinh(5.0)
NODES, MASS = np.polynomial.hermite_e.hermegauss(15)
MASS = MASS / MASS.sum()


def gain(mean: np.ndarray, spread: float) -> np.ndarray:
    """E[(mean + spread·Z)+]."""
    ratio = mean / spread
    return np.asarray(spread * np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi) + mean * ndtr(ratio))


class Grades:
    """Premiums by pattern, for one state of the beliefs, one length of a fold and one price of an epoch."""

    def __init__(self, beliefs: Beliefs, epochs: np.ndarray, price: float) -> None:
        self.beliefs, self.epochs, self.price = beliefs, epochs, price
        scale = np.sqrt(beliefs.variance((0,) * beliefs.folds)) + 1e-12
        self.knots = REACH * scale * KNOTS  # expected final mean above what is in hand
        self._known: dict[Pattern, tuple[np.ndarray, float]] = {
            (len(epochs),) * beliefs.folds: (np.zeros(len(KNOTS)), 0.0)
        }

    def premium(self, pattern: Pattern) -> float:
        """What is to be added to the expected final mean of a configuration that has come so far."""
        path = []
        while pattern not in self._known:
            path.append(pattern)
            pattern = self._after(pattern)
        for earlier in reversed(path):
            self._known[earlier] = self._back(earlier, pattern)
            pattern = earlier
        return self._known[pattern][1]

    def _after(self, pattern: Pattern) -> Pattern:
        rank = best_step(self.beliefs, pattern, self.epochs)
        return advance(pattern, rank, pattern[rank] + 1)

    def _back(self, pattern: Pattern, after: Pattern) -> tuple[np.ndarray, float]:
        """From the value of what follows, above that of taking it as it is, to the value of this pattern."""
        moved = self.beliefs.variance(pattern) - self.beliefs.variance(after)
        spread = float(np.sqrt(max(moved, 1e-18)))
        steps = [(done, to) for done, to in zip(pattern, after, strict=True) if to > done]
        paid = self.price * sum(cost(self.epochs, done, to) for done, to in steps)
        later = np.interp(self.knots[:, None] + spread * NODES, self.knots, self._known[after][0]) @ MASS
        value = gain(self.knots, spread) + later - paid
        return np.maximum(value, 0) - np.maximum(self.knots, 0), -self._root(value)

    def _root(self, value: np.ndarray) -> float:
        """Where going on is worth nothing: `value` rises with slope one at its right end."""
        place = int(np.searchsorted(value, 0.0))
        if place == len(value):
            return float(self.knots[-1] - value[-1])
        if place == 0:
            return float(self.knots[0])
        low, high = value[place - 1], value[place]
        return float(self.knots[place - 1] + (self.knots[place] - self.knots[place - 1]) * low / (low - high))
