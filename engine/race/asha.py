"""`asha`: asynchronous successive halving (Li et al. 2020) over the mean of a configuration's folds so far.

Time runs through a configuration's folds: fold after fold, epoch after epoch. At rungs that grow by `eta`
a configuration goes on if it is among the best 1/eta of those that have been there before it.
"""

import numpy as np

from engine.race.none import Drop, Setting
from engine.race.stopper import Marks, Stopper
from engine.spec import race as spec


def growing(first: int, whole: int, eta: float) -> list[int]:
    """From the first one on by a factor of `eta`, short of the whole."""
    rungs, rung = [], float(first)
    while rung < whole:
        rungs.append(int(rung))
        rung *= eta
    return rungs


class Asha(Stopper):
    name = "asha"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.rungs: dict[int, Marks] = {}  # of the rows that have been there
        self.passed: dict[int, int] = {}  # row -> rungs it has been judged at

    def levels(self, epochs: int) -> np.ndarray:
        """Any rung may fall into any fold, so a fold is looked at wherever one may be."""
        return np.arange(1, epochs + 1)

    def milestones(self, row: int) -> list[int]:
        whole = int(self.heat.epochs[row]) * len(self.setting.folds)
        return growing(self.settings.min_epochs, whole, self.settings.eta)

    def drops(self, row: int, fold: int) -> list[Drop]:
        heat, place = self.heat, self.passed.get(row, 0)
        others = self.finished(row)
        others[fold] = False
        age = int(others.sum() * heat.epochs[row] + heat.reached[row, fold])
        rungs = self.milestones(row)
        if place >= len(rungs) or age < rungs[place] or heat.out[row]:
            return []
        self.passed[row] = place + 1
        return self._judge(row, place, self.running_mean(row, fold))

    def _judge(self, row: int, rung: int, score: float) -> list[Drop]:
        been = self.rungs.setdefault(rung, Marks())
        rivals = been.of_rivals(row, self.heat)
        cutoff = np.percentile(rivals, 100 * (1 - 1 / self.settings.eta)) if len(rivals) else -np.inf
        been.add(row, score)
        return [(row, f"below the best 1/{self.settings.eta:g} at rung {rung}")] if score < cutoff else []
