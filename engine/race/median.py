"""`median`: a configuration below the median of the others at the same age is out (Golovin et al. 2017)."""

import numpy as np

from engine.race.none import Drop, Setting
from engine.race.stopper import Marks, Stopper
from engine.spec import race as spec


class Median(Stopper):
    name = "median"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.ages: dict[tuple[int, int], Marks] = {}

    def levels(self, epochs: int) -> np.ndarray:
        first = min(self.settings.min_epochs, epochs)
        return np.rint(np.geomspace(first, epochs, self.settings.looks)).astype(int)

    def drops(self, row: int, fold: int) -> list[Drop]:
        others = self.finished(row)
        others[fold] = False
        age = (int(others.sum()), int(self.heat.depth[row, fold]))
        score = self.running_mean(row, fold)
        seen = self.ages.setdefault(age, Marks())
        rivals = seen.of_rivals(row, self.heat)
        seen.add(row, score)
        if len(self.heat.complete) < self.settings.warmup or len(rivals) < self.settings.warmup:
            return []
        return [(row, "below the median at its age")] if score < np.median(rivals) else []
