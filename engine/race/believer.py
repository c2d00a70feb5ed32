"""What the rules share that act on beliefs: when they look, and what each configuration may still come to."""

import numpy as np

from engine.race.bars import bars
from engine.race.forecast import Forecast
from engine.race.stopper import Stopper


class Believer(Stopper):
    """A rule that drops and picks work by the forecasts of the score and of each objective."""

    believes = True

    def levels(self, epochs: int) -> np.ndarray:
        first, looks = min(self.settings.min_epochs, epochs), self.settings.looks
        spaced = np.rint(np.geomspace(first, epochs, looks)).astype(int)
        return np.minimum(np.maximum(spaced, first + np.arange(looks)), epochs)

    @property
    def ripe(self) -> bool:
        """Whether anything may be dropped yet."""
        return self.forecast.learned and len(self.heat.complete) >= self.settings.warmup

    def margin(self, channel: int = 0) -> float:
        """What a lost configuration may be better by."""
        return self.settings.tolerance * self.forecasts[channel].beliefs.noise

    def chance(self, rows: np.ndarray) -> np.ndarray:
        """P(a row could be picked, and would be better by more than the margin)."""
        if len(self.forecasts) == 1:
            return self.forecast.above(rows, bars(self.heat, rows, self.setting.pick) + self.margin())
        each = [
            np.max([f.above(rows, mean + self.margin(c)) for c, (f, mean) in self._against(rival)], axis=0)
            for rival in self.heat.complete
        ]
        return np.asarray(np.min(each, axis=0))

    def _against(self, rival: int) -> list[tuple[int, tuple[Forecast, float]]]:
        means = self.heat.means[rival].tolist()
        return list(enumerate(zip(self.forecasts, means, strict=True)))
