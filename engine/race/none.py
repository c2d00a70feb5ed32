"""`none`: every fold of every configuration is trained. The other rules differ from it where they say so."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.race.bars import Pick
from engine.race.forecast import Forecast
from engine.race.heat import Heat
from engine.spec import race as spec

Choice = tuple[int, int] | Literal["open"] | None
Drop = tuple[int, str]


def ends_only(epochs: int) -> np.ndarray:
    """A rule that looks at finished folds alone needs one level."""
    return np.array([epochs])


@dataclass(frozen=True)
class Setting:
    """What a heat is run in: its folds, the seed, and what the search and the pick want of it."""

    folds: tuple[str, ...]
    seed: int = 0
    channels: int = 1  # the score, then single objectives when there are several
    pick: Pick = "best_mean"
    learns: bool = True  # the sampler's proposals depend on results


class TrainAll:
    """What a rule may be asked. It keeps nothing that could not be computed again from the heat."""

    name = "none"
    stops = False  # whether a configuration with a failed fold is out at once
    believes = False  # whether it decides by forecasts; samplers that learn are told those of what is dropped

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        self.settings = settings
        self.setting = setting
        self.heat = Heat(setting.folds, self.levels, setting.channels)
        self.forecasts = [Forecast(self.heat, channel) for channel in range(setting.channels)]
        self.forecast = self.forecasts[0]
        self.may_open = True  # whether the study's limit allows another configuration; kept by the race
        self.limited = True  # whether it has such a limit at all; likewise

    def levels(self, epochs: int) -> np.ndarray:
        """Epochs at which a fold of so many epochs is looked at."""
        return ends_only(epochs)

    def notice(self, row: int) -> bool:
        """Configuration `row` has reached a level; True when the forecast was learned anew."""
        if not (self.believes or (self.stops and self.setting.learns)):
            return False
        learned = [forecast.look(row) for forecast in self.forecasts]
        return any(learned)

    def drops(self, row: int, fold: int) -> list[Drop]:
        """Configurations that are out, now that this fold has reached a level or its end."""
        return []

    def choose(self, may_open: bool) -> Choice:
        """What a free worker takes up: the oldest configuration's folds first, then a new one."""
        ready = self.heat.ready[: self.heat.count]
        if ready.any():
            row = int(ready.argmax())
            return row, self.heat.next_fold(row)
        return "open" if may_open else None

    def stops_fold(self, row: int, fold: int) -> bool:
        """Whether this fold alone is stopped for good (no rule of ours does; some peers do)."""
        return False

    def freezes(self, row: int, fold: int) -> bool:
        """Whether this fold's worker should take up something else for now."""
        return False
