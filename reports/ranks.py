"""The area under the ROC curve of weighted rows, exactly, for many weights at once.

It is the weighted share of (positive, negative) pairs in which the positive scores higher, ties counting
half. Scores are sorted once; under each weighting, running sums over the sorted negatives then say how much
weight lies below each positive.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.stack import Stack
from reports.sums import ratio


@dataclass(frozen=True)
class Pairs:
    """`up`: the positive rows. `down`: the negative ones, sorted; `below` and `upto` count, for each positive
    one, those that score lower and those that score no higher."""

    up: np.ndarray
    down: np.ndarray
    below: np.ndarray
    upto: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> "Pairs":
        known = np.isfinite(scores)
        up, down = np.flatnonzero(positive & known), np.flatnonzero(~positive & known)
        down = down[np.argsort(scores[down], kind="stable")]
        below, upto = (np.searchsorted(scores[down], scores[up], side) for side in ("left", "right"))
        return cls(up, down, below, upto)

    def area(self, columns: np.ndarray) -> np.ndarray:
        """[B], of row weights [R, B]; NaN without weight on either kind."""
        running = np.zeros((len(self.down) + 1, columns.shape[1]))
        np.cumsum(columns[self.down], axis=0, out=running[1:])
        mine = columns[self.up]
        won = np.einsum("pb,pb->b", mine, running[self.below] + running[self.upto]) / 2
        return ratio(won, mine.sum(axis=0) * running[-1])


def pairs(stack: Stack, prefix: str, number: int) -> list[Pairs]:
    """Of each configuration, this class against the rest."""
    positive = stack.label == number
    return [Pairs.of(scores, positive) for scores in stack.chances(prefix)[..., number]]


def macro(classes: Sequence[Sequence[Pairs]], weights: np.ndarray) -> np.ndarray:
    """[B, C]: the mean over those classes that have an area."""
    columns = np.ascontiguousarray(weights.T)
    each = [[one.area(columns) for one in configs] for configs in classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a segmenter has none
        return np.asarray(np.nanmean(np.array(each), axis=0).T)
