"""Distances between the outlines of two masks, in original pixels or millimetres.

Masks are scored at the network's size, while a distance only means something in the image's own
coordinates: each axis is stretched to the original before anything is measured.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from engine.results import SURFACE

PAIRS = 250_000  # outlines with fewer pairs of points are compared point by point, which is quicker then


def outlines(masks: np.ndarray) -> np.ndarray:
    """[N, H, W] -> bool of the same shape: lesion pixels with a side on the outside, or on the border."""
    inside = np.pad(masks.astype(bool), ((0, 0), (1, 1), (1, 1)))
    core = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2] & inside[:, 1:-1, 2:]
    return inside[:, 1:-1, 1:-1] & ~core


def steps(shape: tuple[int, int], sizes: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """[N, 2]: how far one pixel of the stack reaches down and across, in mm or, without spacing, pixels."""
    known = np.where(np.isfinite(spacing), spacing, 1.0)
    return sizes / np.asarray(shape, dtype=np.float64) * known[:, None]


def points(outline: np.ndarray) -> list[np.ndarray]:
    """[N, H, W] -> (row, column) of each outline pixel, case by case."""
    found = np.argwhere(outline)
    starts = np.searchsorted(found[:, 0], np.arange(1, len(outline)))
    return np.split(found[:, 1:], starts)


def nearest(own: np.ndarray, other: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each point [P, 2] of either outline to the other outline."""
    if len(own) * len(other) <= PAIRS:
        pairs = cdist(own * step, other * step)
        return pairs.min(1), pairs.min(0)
    low = np.minimum(own.min(0), other.min(0))
    shape = np.maximum(own.max(0), other.max(0)) - low + 1
    return _transformed(own - low, other - low, shape, step), _transformed(
        other - low, own - low, shape, step
    )


def _transformed(own: np.ndarray, other: np.ndarray, shape: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Read off a distance transform of the window that holds both."""
    outside = np.ones(shape, dtype=bool)
    outside[tuple(other.T)] = False
    return distance_transform_edt(outside, sampling=step)[tuple(own.T)]


def percentile_95(values: np.ndarray) -> float:
    """As numpy's, without its checks, which take longer than the few hundred values that an outline has."""
    ranked, place = np.sort(values), 0.95 * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return float(ranked[low] + (place - low) * (ranked[high] - ranked[low]))


def figures(from_predicted: np.ndarray, from_truth: np.ndarray) -> tuple[float, ...]:
    """In the order of `SURFACE`. The 95 % symmetric distance is the larger of both directed ones."""
    directed = percentile_95(from_predicted)
    count = len(from_predicted) + len(from_truth)
    return (
        float(max(from_predicted.max(), from_truth.max())),
        max(directed, percentile_95(from_truth)),
        directed,
        float(from_predicted.mean()),
        float((from_predicted.sum() + from_truth.sum()) / count),
    )


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, spacing: np.ndarray
) -> dict[str, np.ndarray]:
    """Each name of `SURFACE` [N]; NaN where either mask is empty."""
    table = np.full((len(truth), len(SURFACE)), np.nan)
    step = steps((truth.shape[1], truth.shape[2]), sizes, spacing)
    outline = zip(points(outlines(predicted)), points(outlines(truth)), strict=True)
    for case, (said, true) in enumerate(outline):
        if len(said) and len(true):
            table[case] = figures(*nearest(said, true, step[case]))
    return {name: table[:, place].copy() for place, name in enumerate(SURFACE)}
