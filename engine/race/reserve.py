"""`reserve`: the next slice goes to the configuration of the highest grade (see `grades.py`).

A grade is what a configuration's expected final mean would have to be in hand already for going on with it
not to be worth its epochs. Going on where it is highest, and stopping when what is in hand is above every
grade, is optimal for boxes that open in stages. A sampler that does not learn is asked for all of its
configurations first: one epoch of one fold each.

`race.price` is what training one configuration to its end costs. A high price gives cheap studies, a low
one good ones; it alone says what to spend.
"""

import numpy as np

from engine.race.bars import bars, beaten
from engine.race.beliefs import Pattern, unique_rows
from engine.race.freezer import Freezer
from engine.race.grades import Grades
from engine.race.heat import State
from engine.race.none import Setting
from engine.spec import race as spec


class Reserve(Freezer):
    name = "reserve"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self._grades: dict[tuple[int, int], Grades] = {}
        self._indices = np.zeros((0, setting.channels))

    def notice(self, row: int) -> bool:
        learned = super().notice(row)
        if learned:
            self._grades.clear()
            self._indices = self._all_indices()
        elif self.forecast.learned:
            self._extend()
            self._indices[row] = self.index(row)
        return learned

    def _all_indices(self) -> np.ndarray:
        """`index` of every row at once: a premium per distinct pattern, a mean per row."""
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
        """Grade per channel; `running` levels are on their way and count as known."""
        pattern = self._ahead(row) if running else self.forecast.pattern(row)
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
        """What a grade is above the expected mean; `row` says how long the folds are."""
        epochs = self.heat.level_epochs(row)
        key = (channel, int(epochs[-1]))
        if key not in self._grades:
            beliefs = self.forecasts[channel].beliefs
            whole = float(epochs[-1]) * len(pattern)
            self._grades[key] = Grades(beliefs, epochs, self.settings.price * beliefs.noise / whole)
        return self._grades[key].premium(pattern)

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
        price = self.forecast.prior()[0] + self._premium(0, nothing, 0)
        if not self.heat.complete:
            return price
        price -= float(self.heat.means[self.heat.complete, 0].max())
        return price if price > 0 else -np.inf

    def over(self, rows: np.ndarray) -> bool:
        return bool(self.hopeless(rows).all())

    def hopeless(self, rows: np.ndarray) -> np.ndarray:
        self._extend()
        return beaten(self.heat, rows, self._indices[rows], self.setting.pick)
