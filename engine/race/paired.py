"""`paired`: what can hardly be the pick any more is out, be it half a fold or four folds in."""

import numpy as np

from engine.race.believer import Believer
from engine.race.none import Drop


class Paired(Believer):
    """Stops, never pauses. One rule for both axes: the beliefs hold finished and running folds alike."""

    name = "paired"

    def drops(self, row: int, fold: int) -> list[Drop]:
        if not self.ripe:
            return []
        rows = self.heat.alive()
        rows = rows[(self.heat.depth[rows] > 0).any(axis=1)]
        if not len(rows):
            return []
        chance = self.chance(rows)
        return [
            (int(rows[i]), f"P(it could be picked) = {chance[i]:.3f} < {self.settings.delta:g}")
            for i in np.flatnonzero(chance < self.settings.delta)
        ]
