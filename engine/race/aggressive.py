"""`aggressive` (Bergman et al. 2024): out when the mean of the finished folds is below the best's mean."""

from engine.race.none import Drop
from engine.race.stopper import Stopper


class Aggressive(Stopper):
    name = "aggressive"

    def bar(self, best: int) -> float:
        """What the mean of the finished folds must reach."""
        return float(self.heat.means[best, 0])

    def drops(self, row: int, fold: int) -> list[Drop]:
        mask, best = self.finished(row), self.incumbent(row)
        if best is None or not mask.any() or mask.all():
            return []
        below = self.heat.best[row, mask, 0].mean() < self.bar(best)
        return [(row, f"mean of {mask.sum()} folds below the best's")] if below else []
