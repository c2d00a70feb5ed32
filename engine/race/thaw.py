"""`thaw`: the next slice is drawn by Thompson sampling; what promises less is frozen, not thrown away."""

import numpy as np

from engine.race.freezer import Freezer


class Thaw(Freezer):
    """Ends when P(any unfinished configuration is above the pick by more than the tolerance) < delta."""

    name = "thaw"

    def worth(self) -> np.ndarray:
        """One draw per configuration; the same draws until something new is known."""
        forecast = self.forecast
        generator = np.random.default_rng([self.setting.seed, forecast.looks])
        draws = generator.standard_normal(self.heat.count)
        known = len(forecast.mean)
        mean, variance = forecast.prior()
        worth = np.full(self.heat.count, mean) + np.sqrt(variance) * draws
        worth[:known] = forecast.mean + np.sqrt(forecast.variance) * draws[:known]
        return worth

    def fresh(self) -> float:
        mean, variance = self.forecast.prior()
        generator = np.random.default_rng([self.setting.seed, self.forecast.looks, 1])
        return float(mean + np.sqrt(variance) * generator.standard_normal())

    def over(self, rows: np.ndarray) -> bool:
        return bool(1 - np.prod(1 - self.chance(rows)) < self.settings.delta)

    def hopeless(self, rows: np.ndarray) -> np.ndarray:
        return self.chance(rows) < self.settings.delta / 10
