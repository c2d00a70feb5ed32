"""`reserve`: the next slice goes to the configuration with the highest reservation price (Weitzman 1979).

Suppose it costs c to learn more about a configuration, after which its expected final mean will have moved
by an unknown amount of standard deviation s. Its reservation price is the r for which looking is just worth
it when r is already in hand: E[(mean + s·Z − r)+] = c. Looking first where r is highest, and stopping when
what is in hand is above every r, is optimal for boxes that open at once; a training opens slice by slice,
so r is the highest over the next slice and over finishing one, two, … all of its folds.

`race.price` is c for training one configuration to its end. A high price gives cheap studies, a low one
good ones; there is no other knob.
"""

import numpy as np
from scipy.special import ndtr

from engine.race.bars import bars, beaten
from engine.race.beliefs import Pattern, unique_rows
from engine.race.freezer import Freezer
from engine.race.heat import State
from engine.race.none import Setting
from engine.race.slices import prospects
from engine.spec import race as spec

GRID = np.linspace(-8.0, 8.0, 8001)
GAIN = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi) - GRID * ndtr(-GRID)  # E[(Z - u)+] for u in GRID


def premium(cost: np.ndarray, spread: np.ndarray) -> float:
    """The highest r with E[(spread·Z − r)+] = cost, over several ways to look."""
    return float((spread * np.interp(-cost / spread, -GAIN, GRID)).max())


class Reserve(Freezer):
    name = "reserve"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self._premiums: dict[tuple[int, Pattern, int], float] = {}
        self._indices = np.zeros((0, setting.channels))

    def notice(self, row: int) -> bool:
        learned = super().notice(row)
        if learned:
            self._premiums.clear()
            self._indices = self._all_indices()
        elif self.forecast.learned:
            self._extend()
            self._indices[row] = self.index(row)
        return learned

    def _all_indices(self) -> np.ndarray:
        """`index` of every row at once: a price per distinct pattern, a mean per row."""
        count, found = self.heat.count, np.zeros((self.heat.count, len(self.forecasts)))
        ranked = -np.sort(-self.heat.depth[:count].astype(int), axis=1)
        keyed, member = unique_rows(np.column_stack([ranked, self.heat.epochs[:count]]))
        first = np.zeros(len(keyed), dtype=int)
        first[member[::-1]] = np.arange(count)[::-1]
        for channel in range(found.shape[1]):
            premiums = [self._premium(channel, self.forecast.pattern(int(row)), int(row)) for row in first]
            found[:, channel] = self.forecasts[channel].mean[:count] + np.array(premiums)[member]
        return found

    def _extend(self) -> None:
        missing = range(len(self._indices), self.heat.count)
        if missing:
            self._indices = np.vstack([self._indices, [self.index(row) for row in missing]])

    def index(self, row: int, running: int = 0) -> list[float]:
        """Reservation price per channel; `running` levels are on their way and count as known."""
        pattern = self.forecast.pattern(row)
        if running:
            pattern = self._ahead(row)
        return [
            self._mean(channel, row) + self._premium(channel, pattern, row)
            for channel in range(len(self.forecasts))
        ]

    def _mean(self, channel: int, row: int) -> float:
        forecast = self.forecasts[channel]
        return float(forecast.mean[row]) if row < len(forecast.mean) else forecast.prior()[0]

    def _ahead(self, row: int) -> Pattern:
        heat = self.heat
        depth = heat.depth[row] + (heat.state[row] == State.RUNNING)
        return tuple(sorted(np.minimum(depth, heat.curves.shape[2]).tolist(), reverse=True))

    def _premium(self, channel: int, pattern: Pattern, row: int) -> float:
        epochs = int(self.heat.epochs[row]) if row >= 0 else int(self.heat.epochs[0])
        key = (channel, pattern, epochs)
        if key not in self._premiums:
            self._premiums[key] = self._compute(channel, pattern, max(row, 0))
        return self._premiums[key]

    def _compute(self, channel: int, pattern: Pattern, row: int) -> float:
        beliefs, epochs = self.forecasts[channel].beliefs, self.heat.level_epochs(row)
        found = np.array(prospects(beliefs, pattern, epochs))
        if not len(found):
            return 0.0
        whole = float(epochs[-1]) * len(pattern)
        return premium(self.settings.price * beliefs.noise * found[:, 0] / whole, found[:, 1])

    def worth(self) -> np.ndarray:
        """Prices above what each could be picked at; what is under way counts as known."""
        self._extend()
        worth = self._indices[:, 0].copy()
        busy = np.flatnonzero((self.heat.state[: self.heat.count] == State.RUNNING).any(axis=1))
        for row in busy:
            worth[row] = self.index(int(row), running=1)[0]
        if not self.heat.complete:
            return worth
        return worth - bars(self.heat, np.arange(self.heat.count), self.setting.pick)

    def floor(self) -> float:
        """What is all but in hand: the best that any configuration is expected to end at."""
        if len(self.forecasts) > 1 or self.setting.pick != "best_mean":
            return -np.inf
        heat, expected = self.heat, self.forecast.mean
        alive = expected[~heat.out[: len(expected)]].max(initial=-np.inf)
        if not heat.complete:
            return float(alive)
        return float(max(alive - heat.means[heat.complete, 0].max(), 0.0))

    def fresh(self) -> float:
        nothing = (0,) * len(self.heat.folds)
        price = self.forecast.prior()[0] + self._premium(0, nothing, -1)
        if not self.heat.complete:
            return price
        price -= float(self.heat.means[self.heat.complete, 0].max())
        return price if price > 0 else -np.inf

    def over(self, rows: np.ndarray) -> bool:
        return bool(self.hopeless(rows).all())

    def hopeless(self, rows: np.ndarray) -> np.ndarray:
        self._extend()
        return beaten(self.heat, rows, self._indices[rows], self.setting.pick)
