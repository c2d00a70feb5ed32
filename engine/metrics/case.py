"""What is measured of one predicted mask, for a whole stack at once.

Two conventions hold throughout. An overlap of two empty masks is 1 and of one empty mask 0. Surface
distances do not exist unless both masks have a surface: they are NaN then, never 0.
"""

import numpy as np

from engine.metrics.classification import quotient
from engine.metrics.lesions import lesion_counts
from engine.metrics.surface import surface_distances
from engine.results import PER_MASK, SURFACE

Columns = dict[str, np.ndarray]
BLOCK = 128  # cases scored at a time: numbered lesions take eight times the memory of the masks


def pixel_counts(truth: np.ndarray, predicted: np.ndarray) -> Columns:
    """[N, H, W] of 0/1 -> tp, fp, fn, tn [N], in pixels of the stack."""
    t, p = truth.astype(bool), predicted.astype(bool)
    tp = np.count_nonzero(t & p, axis=(1, 2))
    fp = np.count_nonzero(p, axis=(1, 2)) - tp
    fn = np.count_nonzero(t, axis=(1, 2)) - tp
    return {"tp": tp, "fp": fp, "fn": fn, "tn": t.shape[1] * t.shape[2] - tp - fp - fn}


def overlaps(counts: Columns) -> Columns:
    """The metrics that follow from the four counts alone."""
    tp, fp, fn, tn = (counts[name].astype(np.float64) for name in ("tp", "fp", "fn", "tn"))
    nothing = ((tp + fp + fn) == 0).astype(np.float64)
    return {
        "dice": quotient(2 * tp, 2 * tp + fp + fn, 1.0),
        "iou": quotient(tp, tp + fp + fn, 1.0),
        "pixel_accuracy": (tp + tn) / (tp + fp + fn + tn),
        "precision": quotient(tp, tp + fp, nothing),
        "recall": quotient(tp, tp + fn, nothing),
        "specificity": quotient(tn, tn + fp, 1.0),
    }


def score_masks(
    truth: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, spacing: np.ndarray, surface: bool = True
) -> Columns:
    """[N, H, W] of 0/1, original sizes [N, 2], mm per original pixel [N] -> each name of `PER_MASK` [N].

    Counts are in pixels of the stack; distances in original pixels, or mm where spacing is known. They take
    most of the time: without `surface` they are left out.
    """
    blocks = [
        _score(truth[block], predicted[block], sizes[block], spacing[block], surface)
        for block in (slice(start, start + BLOCK) for start in range(0, max(len(truth), 1), BLOCK))
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _score(
    truth: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, spacing: np.ndarray, surface: bool
) -> Columns:
    counts = pixel_counts(truth, predicted)
    columns = counts | overlaps(counts) | lesion_counts(truth, predicted)
    if surface:
        columns |= surface_distances(truth, predicted, sizes, spacing)
    return _ordered(columns)


def erase(columns: Columns, erased: np.ndarray) -> Columns:
    """The scores once the masks of the chosen cases [N] are emptied; nothing is measured again."""
    keep = ~erased
    tp, fp, fn, tn = (columns[name] for name in ("tp", "fp", "fn", "tn"))
    counts = {"tp": tp * keep, "fp": fp * keep, "fn": fn + tp * erased, "tn": tn + fp * erased}
    distances = {name: np.where(erased, np.nan, columns[name]) for name in SURFACE if name in columns}
    found = {name: columns[name] * keep for name in ("lesions_hit", "lesions_false")}
    return _ordered(columns | counts | overlaps(counts) | distances | found)


def _ordered(columns: Columns) -> Columns:
    return {name: columns[name] for name in PER_MASK if name in columns}
