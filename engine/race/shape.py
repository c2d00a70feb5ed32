"""What learning curves are usually like: the prior of the covariances that `beliefs` learns.

Its scale is that of the data, its shape is assumed: what a configuration does on every fold shows early and
stays, what it does on one fold comes and goes. Correlations between the first level and the last are below;
between neighbouring levels they follow from it, levels being spaced evenly in the logarithm of the epoch.
"""

from dataclasses import dataclass

import numpy as np

CONFIGS = 6.0  # what the prior counts for
REACH = 2.0  # how far below the median a score counts, in deviations of the better half
FEWEST = 5  # scores of a level before their spread is known
SHARED = 0.7  # share of a score's variance that is the configuration's
SHARED_CORRELATION = 0.7
OWN_CORRELATION = 0.2


@dataclass(frozen=True)
class Shape:
    """Covariances over levels before anything is learned of correlations."""

    shared: np.ndarray
    own: np.ndarray


def shape_of(residual: np.ndarray, known: np.ndarray) -> Shape:
    """The prior at the scale of these residuals [N, K, L], zero where not `known`."""
    variance = _variances(residual, known)
    scale = np.sqrt(np.outer(variance, variance))
    levels = len(variance)
    lag = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels))) / max(levels - 1, 1)
    nugget = 1e-9 * np.eye(levels)
    return Shape(
        SHARED * scale * SHARED_CORRELATION**lag + nugget,
        (1 - SHARED) * scale * OWN_CORRELATION**lag + nugget,
    )


def lifted(residual: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Residuals with those that lie far below brought up to a bound.

    A configuration that diverged is out, whatever its score; how far it fell must not widen what is
    believed of those that did not.
    """
    bounds = np.full(residual.shape[2], -np.inf)
    for level in np.flatnonzero(known.sum((0, 1)) >= FEWEST):
        scores = residual[:, :, level][known[:, :, level]]
        middle = np.median(scores)
        upper = scores[scores >= middle] - middle
        bounds[level] = middle - REACH * np.sqrt((upper**2).mean())
    return np.maximum(residual, bounds)


def _variances(residual: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Of the scores at each level; what got far was chosen, so spreads are never taken to shrink."""
    squares, counts = (residual**2).sum((0, 1)), known.sum((0, 1))
    pooled = squares.sum() / max(counts.sum(), 1)
    return np.maximum.accumulate((squares + 10 * pooled) / (counts + 10))
