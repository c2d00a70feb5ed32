"""`wilcoxon`: out when a signed-rank test against the best, paired by fold, says worse at level `delta`.

With five folds the test cannot reach p < 0.1 before the fourth: with n pairs its smallest p is 1/2^n.
Importing `scipy.stats` takes half a second, so it waits until this rule is asked.
"""

from functools import lru_cache

import numpy as np

from engine.race.none import Drop
from engine.race.stopper import Stopper

FEWEST = 2  # pairs before the test is asked


def p_worse(difference: np.ndarray) -> float:
    """One-sided p of "these paired differences are not below zero"."""
    from scipy.stats import rankdata

    if not difference.any():
        return 1.0
    ranks = rankdata(np.abs(difference)) * np.sign(difference)
    return _p_of(tuple(ranks.tolist()))


@lru_cache(maxsize=4096)
def _p_of(signed_ranks: tuple[float, ...]) -> float:
    """The test sees nothing but signed ranks, and a race asks for the same few again and again."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(signed_ranks, alternative="less", zero_method="zsplit").pvalue)


class Wilcoxon(Stopper):
    name = "wilcoxon"

    def drops(self, row: int, fold: int) -> list[Drop]:
        mask, best = self.finished(row), self.incumbent(row)
        if best is None or mask.sum() < FEWEST or mask.all():
            return []
        difference = self.heat.best[row, mask, 0] - self.heat.best[best, mask, 0]
        if difference.mean() >= 0 or p_worse(difference) >= self.settings.delta:
            return []
        return [(row, f"worse than the best on {mask.sum()} folds by the signed-rank test")]
