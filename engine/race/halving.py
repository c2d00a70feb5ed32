"""`halving`: successive halving in small steps, every rung waiting for all that come to it.

All configurations train on the same fold to the same few epochs, the better ones a little further, and so
on through the folds. Rungs grow by half, so an error costs little at each of them; scores are only ever
compared at the same folds and epochs; and nobody is promoted before it is certain that those still on their
way to its rung cannot take its place. How many go on falls evenly in the logarithm of the age, from all of
them to one at the share `race.decided` of a whole training: what a study costs is known before it begins.

A sampler that learns cannot be asked for everything first. Then each rung judges by those that have been
there so far, and what is not among its best is out at once.
"""

from functools import lru_cache
from math import ceil, log

import numpy as np

from engine.race.heat import State
from engine.race.none import Choice, Drop, Setting, TrainAll
from engine.spec import race as spec

GROWTH = 1.5
LEVELS = 32  # as many for every number of epochs, so that forecasts can be compared
TIE = 1e-12  # of two equal scores the one that was opened first is the better


@lru_cache
def rungs(first: int, whole: int) -> tuple[int, ...]:
    """Ages in epochs, over all folds, at which a configuration is judged."""
    ages, age = [], float(first)
    while age < whole:
        ages.append(int(age))
        age = max(age * GROWTH, age + 1)
    return tuple(ages[:LEVELS])


def places(count: int, age: float, last: float) -> int:
    """How many of `count` go on to this age (1 is the first rung's), when one is left at `last`."""
    return max(1, ceil(count ** (1 - log(age) / max(log(last), log(GROWTH))) - 1e-9))


class Halving(TrainAll):
    name = "halving"
    stops = True

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.marks = np.full((LEVELS, 16), np.nan)  # score of each row at each rung
        self.passed = np.zeros(16, dtype=int)  # rungs each row has been judged at
        self._best: dict[int, np.ndarray] = {}  # scores of a rung, best first, while nobody joins it
        self.order = self._drawn()

    def levels(self, epochs: int) -> np.ndarray:
        """Where a rung may fall in a fold."""
        ages = rungs(self.settings.min_epochs, epochs * len(self.setting.folds))
        offsets = sorted({(age - 1) % epochs + 1 for age in ages} | {epochs})[-LEVELS:]
        return np.pad(np.array(offsets), (0, LEVELS - len(offsets)), mode="edge")

    def _drawn(self) -> list[int]:
        """Folds in the order in which everybody takes them: drawn, but repeat after repeat."""
        repeats = [fold.rpartition("-")[0] for fold in self.setting.folds]
        drawn = np.random.default_rng([self.setting.seed, 2]).permutation(len(repeats)).tolist()
        return sorted(drawn, key=lambda fold: repeats.index(repeats[fold]))

    # -- the ladder --------------------------------------------------------------------------------

    @property
    def whole(self) -> int:
        return int(self.heat.epochs[: self.heat.count].max()) * len(self.setting.folds)

    def rooms(self) -> list[int]:
        """How many may go on from each rung."""
        first, whole, count = self.settings.min_epochs, self.whole, self.heat.count
        last = self.settings.decided * whole / first
        return [places(count, age / first, last) for age in (*rungs(first, whole)[1:], whole)]

    def climb(self, row: int) -> bool:
        """Write a row down at the rungs it has reached; True when there was one."""
        heat, ages = self.heat, rungs(self.settings.min_epochs, self.whole)
        self._settle()
        trained = np.where(heat.state[row] == State.COMPLETE, heat.epochs[row], heat.reached[row])
        after = len(ages) if heat.done[row] else int(np.searchsorted(ages, trained.sum(), side="right"))
        reached = range(self.passed[row], after)
        if not reached:
            return False
        begun = trained > 0
        score = np.average(heat.best[row, begun, 0], weights=trained[begun])
        self.marks[reached, row] = score - TIE * row
        self.passed[row] = after
        for rung in reached:
            self._best.pop(rung, None)
        return True

    def _settle(self) -> None:
        """Take in who has entered; what has failed, or cannot be picked, leaves its place to the next."""
        missing = len(self.heat.epochs) - len(self.passed)
        if missing:
            self.marks = np.pad(self.marks, ((0, 0), (0, missing)), constant_values=np.nan)
            self.passed = np.pad(self.passed, (0, missing))
        failed = (self.heat.state == int(State.FAILED)).any(axis=1) | self.heat.unfit
        failed &= self.passed > 0
        if failed.any():
            self.marks[:, failed] = np.nan
            self.passed[failed] = 0
            self._best.clear()

    def best(self, rung: int) -> np.ndarray:
        """Scores of all that have been at a rung."""
        if rung not in self._best:
            here = self.marks[rung]
            self._best[rung] = -np.sort(-here[~np.isnan(here)])
        return self._best[rung]

    def above(self, rung: int, rows: np.ndarray, room: int) -> np.ndarray:
        """Which of these rows are among the best so many of a rung."""
        best = self.best(rung)
        if room < 1 or not len(best):
            return np.zeros(len(rows), dtype=bool)
        return np.asarray(self.marks[rung, rows] >= best[min(room, len(best)) - 1])

    def going(self) -> tuple[list[int], int]:
        """Rows that certainly go on, the youngest first, and how many may go on in all."""
        self._settle()
        alive = self.heat.alive()
        passed = self.passed[alive]
        certain = alive[passed == 0].tolist()
        behind = coming = len(certain)
        rooms = self.rooms()
        for rung, room in enumerate(rooms[: self.passed.max()]):
            waiting = alive[passed == rung + 1]
            sure = waiting[self.above(rung, waiting, room - min(behind, coming))]
            certain += sure[np.argsort(-self.marks[rung, sure])].tolist()
            behind += int(self.above(rung, waiting, room).sum())
            coming = max(room - len(self.best(rung + 1)), 0) if rung + 1 < LEVELS else 0
        return certain, behind

    # -- what the race asks ------------------------------------------------------------------------

    def drops(self, row: int, fold: int) -> list[Drop]:
        climbed = self.climb(row)
        if self.setting.learns:
            return self._judge(row) if climbed else []
        if self.may_open or not self.heat.complete or self.going()[1]:
            return []
        return [(int(other), "the study is decided") for other in self.heat.alive()]

    def _judge(self, row: int) -> list[Drop]:
        rung = int(self.passed[row]) - 1
        room = self.rooms()[rung]
        within = self.above(rung, np.array([row]), room)[0]
        return [] if within else [(row, f"not among the best {room} at rung {rung}")]

    def choose(self, may_open: bool) -> Choice:
        heat = self.heat
        ready = np.flatnonzero(heat.ready[: heat.count])
        rows = ready if self.setting.learns else ready[heat.audited[ready]]
        if len(rows):
            return int(rows[0]), self.fold(int(rows[0]))
        if may_open:
            fresh = ready[~heat.begun[ready]]
            return (int(fresh[0]), self.fold(int(fresh[0]))) if len(fresh) else "open"
        certain, total = self.going()
        busy = (heat.state[: heat.count] == int(State.RUNNING)).any(axis=1)
        busy |= (heat.state[: heat.count] == int(State.BLOCKED)).any(axis=1)
        for row in certain:
            if heat.ready[row] and (total == 1 or not busy[row]):
                return row, self.fold(row)
        return None

    def fold(self, row: int) -> int:
        """The fold to go on with, in the same order for all: one already begun first."""
        states = self.heat.state[row].tolist()
        free = [k for k in self.order if states[k] <= State.FROZEN]
        return min(free, key=lambda k: states[k] != State.FROZEN)

    def freezes(self, row: int, fold: int) -> bool:
        heat = self.heat
        if self.setting.learns or heat.audited[row] or heat.reached[row, fold] >= heat.epochs[row]:
            return False
        self._settle()
        return bool(self.passed[row]) and (self.may_open or row not in self.going()[0])
