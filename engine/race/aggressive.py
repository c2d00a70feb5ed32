"""`aggressive` (Bergman et al. 2024): out when the mean of the finished folds is below the best's mean."""

from engine.race.none import Drop
from engine.race.stopper import Stopper
from engine.words import plural


class Aggressive(Stopper):
    name = "aggressive"
    bar_named = "the best's mean"

    def bar(self, best: int) -> float:
        """What the mean of the finished folds must reach."""
        return float(self.heat.means[best, 0])

    def drops(self, row: int, fold: int) -> list[Drop]:
        mask, best = self.finished(row), self.incumbent(row)
        if best is None or not mask.any() or mask.all():
            return []
        below, count = self.heat.best[row, mask, 0].mean() < self.bar(best), int(mask.sum())
        return [(row, f"mean of {plural(count, 'fold')} below {self.bar_named}")] if below else []
