"""`forgiving` (Bergman et al. 2024): out when the mean of finished folds is below the best's worst fold."""

from engine.race.aggressive import Aggressive


class Forgiving(Aggressive):
    name = "forgiving"
    bar_named = "the best's worst fold"

    def bar(self, best: int) -> float:
        return float(self.heat.best[best, :, 0].min())
