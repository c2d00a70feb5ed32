"""Covariances over levels, learned level after level from those that have climbed so far.

Who goes on is chosen by what the earlier levels showed, so those who have reached a level are the better
ones there, but what it is *given* the levels before it is the same for all. So each level is regressed on
those before it, over whoever has reached it, and the covariance follows from slopes and what they leave.
Filling in the missing levels instead would be right too, but hundreds of filled-in configurations would
keep at its prior what a handful could teach.
"""

from dataclasses import dataclass

import numpy as np

from engine.race.shape import CONFIGS


@dataclass(frozen=True)
class Moments:
    """Sums over histories by the depth at which they end, depths 0 … L."""

    count: np.ndarray  # [L+1]
    first: np.ndarray  # [L+1, L]
    second: np.ndarray  # [L+1, L, L]

    def spread(self, uncertain: np.ndarray) -> "Moments":
        """With what the histories themselves are not known by."""
        return Moments(self.count, self.first, self.second + uncertain)

    def reaching(self) -> "Moments":
        """Of all that have got at least so far."""
        return Moments(*(each[::-1].cumsum(0)[::-1] for each in (self.count, self.first, self.second)))


def by_depth(rows: np.ndarray, depth: np.ndarray) -> Moments:
    """Of `rows` [N, L] that end at `depth` [N]."""
    levels = rows.shape[1]
    groups = [rows[depth == reached] for reached in range(levels + 1)]
    return Moments(
        np.array([float(len(group)) for group in groups]),
        np.array([group.sum(0) for group in groups]),
        np.array([group.T @ group for group in groups]),
    )


def known_levels(depth: np.ndarray, levels: int) -> np.ndarray:
    return np.asarray(np.arange(levels) < depth[..., None])


@dataclass(frozen=True)
class Climb:
    covariance: np.ndarray  # [L, L]
    slopes: np.ndarray  # [L, L]: of each level on those before it
    means: np.ndarray  # [L]


def climb(moments: Moments, prior: np.ndarray, centred: bool = False) -> Climb:
    """From histories, and a prior covariance that counts for a few of them; `centred` learns means too."""
    reaching, levels = moments.reaching(), len(prior)
    covariance, slopes, means = np.zeros((levels, levels)), np.zeros((levels, levels)), np.zeros(levels)
    for level in range(levels):
        count = max(reaching.count[level + 1], 1e-9)
        mean = reaching.first[level + 1] / count if centred else means * 0
        both = reaching.second[level + 1] - count * np.outer(mean, mean) + CONFIGS * prior
        before = slice(0, level)
        slope = np.linalg.solve(both[before, before], both[before, level])
        rest = (both[level, level] - slope @ both[before, level]) / (count + CONFIGS)
        slopes[level, before] = slope
        covariance[level, before] = covariance[before, level] = covariance[before, before] @ slope
        covariance[level, level] = rest + slope @ covariance[before, level]
        means[level] = mean[level] + slope @ (means[before] - mean[before])
    return Climb(covariance, slopes, means)
