"""One heat: what is known of every configuration on every fold of one set of folds, in flat arrays.

A study has one heat; a nested one has a heat per outer fold, for a configuration that is out for one
outer fold may be the pick of another. Scores are kept at a few epochs of each fold only (its *levels*).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np


class State(IntEnum):
    """Where one fold of one configuration stands."""

    WAITING = 0
    FROZEN = 1  # has a checkpoint, no worker
    BLOCKED = 2  # its first stage is being trained for somebody
    RUNNING = 3
    STOPPED = 4
    COMPLETE = 5
    FAILED = 6  # or diverged


Levels = Callable[[int], np.ndarray]


class Heat:
    """Arrays over [configuration, fold, level, channel]; channel 0 is the score, others are objectives."""

    def __init__(self, folds: Sequence[str], levels: Levels, channels: int = 1) -> None:
        self.folds = tuple(folds)
        self.column = {fold: k for k, fold in enumerate(self.folds)}
        self.count = 0
        self.started = 0  # folds handed out, each time anew but for what was cut off
        self.complete: list[int] = []  # in the order in which they became so; none that may not be picked
        self._levels = levels
        self._level_epochs: dict[int, np.ndarray] = {}
        self._turns = [self._turn(start) for start in range(len(self.folds))]
        self._allocate(16, len(levels(100)), channels)

    def _allocate(self, size: int, depth: int, channels: int) -> None:
        folds = len(self.folds)
        self.curves = np.full((size, folds, depth, channels), np.nan, dtype=np.float32)
        self.best = np.full((size, folds, channels), -np.inf)
        self.depth = np.zeros((size, folds), dtype=np.int32)  # levels reached
        self.reached = np.zeros((size, folds), dtype=np.int32)  # epochs reached
        self.state = np.zeros((size, folds), dtype=np.int8)
        self.means = np.full((size, channels), np.nan)  # only of complete configurations
        self.epochs = np.zeros(size, dtype=np.int32)
        self.cost = np.full(size, np.nan)  # not known before a fold has ended
        self.done = np.zeros(size, dtype=bool)
        self.out = np.zeros(size, dtype=bool)
        self.audited = np.zeros(size, dtype=bool)
        self.unfit = np.zeros(size, dtype=bool)  # breaks a bound, so that it cannot be picked
        self.begun = np.zeros(size, dtype=bool)
        self.ready = np.zeros(size, dtype=bool)  # has a fold that could be handed out

    def _grow(self) -> None:
        old = dict(vars(self))
        self._allocate(2 * len(self.epochs), *self.curves.shape[2:])
        for name, array in old.items():
            if isinstance(array, np.ndarray):
                getattr(self, name)[: len(array)] = array

    def open(self, epochs: int) -> int:
        if self.count == len(self.epochs):
            self._grow()
        row, self.count = self.count, self.count + 1
        self.epochs[row], self.ready[row] = epochs, True
        self._deepen(len(self.level_epochs(row)))
        return row

    def _deepen(self, depth: int) -> None:
        """A rule that looks at every epoch needs as many levels as the longest fold has epochs."""
        missing = depth - self.curves.shape[2]
        if missing > 0:
            self.curves = np.pad(self.curves, ((0, 0), (0, 0), (0, missing), (0, 0)), constant_values=np.nan)

    def level_epochs(self, row: int) -> np.ndarray:
        """The epochs at which this configuration's folds are looked at; the last one is its end."""
        epochs = int(self.epochs[row])
        if epochs not in self._level_epochs:
            self._level_epochs[epochs] = self._levels(epochs)
        return self._level_epochs[epochs]

    def report(self, row: int, fold: int, epoch: int, scores: Sequence[float]) -> bool:
        """Keep an epoch's score; True when a level was reached. An epoch told twice changes nothing."""
        if epoch <= self.reached[row, fold]:
            return False
        self.reached[row, fold] = epoch
        np.fmax(self.best[row, fold], scores, out=self.best[row, fold])
        return self._climb(row, fold, epoch)

    def _climb(self, row: int, fold: int, epoch: int) -> bool:
        before = int(self.depth[row, fold])
        after = bisect_right(self.level_epochs(row), epoch)
        if after <= before:
            return False
        self.curves[row, fold, before:after] = self.best[row, fold]
        self.depth[row, fold] = after
        return True

    def finish(self, row: int, fold: int, scores: Sequence[float]) -> None:
        """A fold has ended well, perhaps before its last epoch (patience): its score is final."""
        self.best[row, fold] = scores
        self._climb(row, fold, int(self.epochs[row]))
        self.curves[row, fold, self.depth[row, fold] - 1] = scores
        self.move(row, fold, State.COMPLETE)
        if (self.state[row] == State.COMPLETE).all():
            self.complete += [] if self.unfit[row] else [row]
            self.done[row] = True
            self.means[row] = self.best[row].mean(axis=0)

    def forget(self, row: int, fold: int) -> None:
        """All that was known of this fold is gone."""
        if self.done[row]:
            self.complete = [other for other in self.complete if other != row]
            self.done[row] = False
            self.means[row] = np.nan
        self.curves[row, fold] = np.nan
        self.best[row, fold] = -np.inf
        self.depth[row, fold] = self.reached[row, fold] = 0
        self.move(row, fold, State.WAITING)

    def rule_out(self, row: int) -> None:
        """Nobody is measured against what cannot be picked."""
        self.unfit[row] = True
        self.complete = [other for other in self.complete if other != row]

    def move(self, row: int, fold: int, state: State) -> None:
        self.begun[row] |= state == State.RUNNING
        self.state[row, fold] = state
        self._refresh(row)

    def drop(self, row: int, audited: bool) -> None:
        self.out[row], self.audited[row] = True, audited
        self._refresh(row)

    def _refresh(self, row: int) -> None:
        if self.wanted(row):
            self.ready[row] = bool((self.state[row] <= State.FROZEN).any())
        else:
            self.ready[row] = False

    def wanted(self, row: int) -> bool:
        """Is any of this configuration's folds still worth a worker? What is audited no more once one of them
        has failed, for then it can have no mean."""
        if not self.out[row]:
            return True
        return bool(self.audited[row]) and not (self.state[row] == State.FAILED).any()

    def unwanted(self) -> np.ndarray:
        """Of every row that none of its folds is `wanted`."""
        rows = slice(self.count)
        failed = (self.state[rows] == State.FAILED).any(axis=1)
        return np.asarray(self.out[rows] & ~(self.audited[rows] & ~failed))

    def trained(self, row: int) -> bool:
        """Has every fold had its last epoch? Then nothing is left that a drop could save."""
        return bool(((self.state[row] == State.COMPLETE) | (self.reached[row] >= self.epochs[row])).all())

    def alive(self) -> np.ndarray:
        """Rows that are neither out nor complete, and have not failed in their very last epoch, which leaves
        nothing to drop."""
        failed = (self.state[: self.count] == State.FAILED).any(axis=1)
        return np.flatnonzero(~self.out[: self.count] & ~self.done[: self.count] & ~failed)

    def _turn(self, start: int) -> tuple[int, ...]:
        """Folds in the order in which a configuration takes them, repeat after repeat."""
        repeats: dict[str, list[int]] = {}
        for k, fold in enumerate(self.folds):
            repeats.setdefault(fold.rpartition("-")[0], []).append(k)
        return tuple(
            members[(start + j) % len(members)] for members in repeats.values() for j in range(len(members))
        )

    def order(self, row: int) -> tuple[int, ...]:
        """The fold that starts rotates, so that early figures of many configurations cover all folds."""
        return self._turns[row % len(self.folds)]

    def next_fold(self, row: int) -> int:
        """The fold of a ready configuration to go on with: one already begun first."""
        states, order = self.state[row].tolist(), self.order(row)
        begun, reached = int(State.FROZEN), self.reached[row]
        frozen = [k for k in order if states[k] == begun]
        if frozen:
            return max(frozen, key=lambda k: int(reached[k]))
        fresh = int(State.WAITING)
        return next(k for k in order if states[k] == fresh)
