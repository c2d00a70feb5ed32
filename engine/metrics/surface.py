"""Distances between the outlines of two masks, in original pixels or millimetres.

Masks are scored at the network's size, while a distance only means something in the image's own
coordinates: each axis is stretched to the original before anything is measured.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

SURFACE = ("hausdorff", "hd95", "hd95_directed", "asd", "assd")
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


def nearest(own: np.ndarray, other: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each point of either outline [H, W] to the other outline."""
    ours, theirs = np.argwhere(own), np.argwhere(other)
    if len(ours) * len(theirs) <= PAIRS:
        pairs = cdist(ours * step, theirs * step)
        return pairs.min(1), pairs.min(0)
    points = np.concatenate([ours, theirs])
    low, high = points.min(0), points.max(0) + 1
    window = slice(low[0], high[0]), slice(low[1], high[1])
    own, other = own[window], other[window]
    return (
        distance_transform_edt(~other, sampling=step)[own],
        distance_transform_edt(~own, sampling=step)[other],
    )


def figures(from_predicted: np.ndarray, from_truth: np.ndarray) -> tuple[float, ...]:
    """In the order of `SURFACE`. The 95 % symmetric distance is the larger of both directed ones."""
    directed = float(np.percentile(from_predicted, 95))
    return (
        float(max(from_predicted.max(), from_truth.max())),
        max(directed, float(np.percentile(from_truth, 95))),
        directed,
        float(from_predicted.mean()),
        float(np.concatenate([from_predicted, from_truth]).mean()),
    )


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, spacing: np.ndarray
) -> dict[str, np.ndarray]:
    """Each name of `SURFACE` [N]; NaN where either mask is empty."""
    table = np.full((len(truth), len(SURFACE)), np.nan)
    step = steps((truth.shape[1], truth.shape[2]), sizes, spacing)
    true, said = outlines(truth), outlines(predicted)
    for case in np.flatnonzero(true.any((1, 2)) & said.any((1, 2))):
        table[case] = figures(*nearest(said[case], true[case], step[case]))
    return {name: table[:, place].copy() for place, name in enumerate(SURFACE)}
