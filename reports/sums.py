"""Figures that are functions of weighted sums over rows, so that a thousand resamples cost one product.

Features turn each row into a few numbers [C, R, k]; sums of them [..., k] give a mean, a ratio of pixels, a
calibration error, or anything that a confusion matrix gives.
"""

import numpy as np

from engine.metrics.classification import BINS
from reports.stack import Stack

# -- features ------------------------------------------------------------------------------------------


def defined(values: np.ndarray) -> np.ndarray:
    """Value and whether there is one: undefined distances are left out of the mean."""
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0.0), known.astype(float)], axis=-1)


def only(stack: Stack, column: str, number: int) -> np.ndarray:
    return np.where(stack.label == number, stack.columns[column], np.nan)


def right(stack: Stack, prefix: str) -> np.ndarray:
    said = stack.columns[f"{prefix}predicted"]
    return np.where(said >= 0, said == stack.label, np.nan)


def incoherent(stack: Stack, prefix: str) -> np.ndarray:
    """Class normal with a lesion in the mask, or another class with none."""
    said = stack.columns[f"{prefix}predicted"]
    normal = said == stack.classes.index("normal")
    lesion = stack.columns[f"{prefix}tp"] + stack.columns[f"{prefix}fp"]
    return np.where(np.isfinite(lesion) & (said >= 0), normal == (lesion > 0), np.nan)


def pixels(stack: Stack, prefix: str) -> np.ndarray:
    """Hits, misses, and whether there is a mask at all: a classifier has overlaps with nothing."""
    counts = [stack.columns[prefix + name] for name in ("tp", "fp", "fn")]
    tp, fp, fn = (np.nan_to_num(count) for count in counts)
    return np.stack([tp, fp + fn, np.isfinite(counts[0]).astype(float)], axis=-1)


def one_hot(stack: Stack, prefix: str) -> np.ndarray:
    """[C, R, classes²]: where a row falls in the confusion matrix."""
    said, classes = stack.columns[f"{prefix}predicted"], len(stack.classes)
    known = (said >= 0).astype(float)
    return _placed(np.where(said >= 0, stack.label * classes + said, 0), known, classes**2)


def _placed(place: np.ndarray, values: np.ndarray, width: int) -> np.ndarray:
    """[..., width]: each value at its place, 0 elsewhere."""
    found = np.zeros((*place.shape, width))
    np.put_along_axis(found, place[..., None], values[..., None], axis=-1)
    return found


def brier(stack: Stack, prefix: str) -> np.ndarray:
    truth = np.eye(len(stack.classes))[stack.label]
    return np.asarray(((stack.chances(prefix) - truth) ** 2).sum(axis=-1))


def gaps(stack: Stack, prefix: str) -> np.ndarray:
    """[C, R, bins + 1]: right less confidence, in the bin of its confidence; and whether it is known."""
    chances = stack.chances(prefix)
    confidence = chances.max(axis=-1)
    known = np.isfinite(confidence)
    place = np.clip(np.ceil(np.nan_to_num(confidence) * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.where(known, (chances.argmax(axis=-1) == stack.label) - confidence, 0.0)
    found = _placed(place, gap, BINS + 1)
    found[..., BINS] = known
    return found


# -- figures -------------------------------------------------------------------------------------------


def mean(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., 0], sums[..., 1])


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def overlap(sums: np.ndarray, name: str) -> np.ndarray:
    twice = 2.0 if name == "dice_pooled" else 1.0
    part, whole = twice * sums[..., 0], twice * sums[..., 0] + sums[..., 1]
    return np.where(whole > 0, ratio(part, whole), np.where(sums[..., 2] > 0, 1.0, np.nan))


def calibration(sums: np.ndarray) -> np.ndarray:
    return ratio(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])


def each_class(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Per class [..., classes] from counts [..., classes²]; an absent class has no figures."""
    classes = round(float(np.sqrt(counts.shape[-1])))
    matrix = counts.reshape(*counts.shape[:-1], classes, classes)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, said, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))[..., None]
    never = np.where(true > 0, 0.0, np.nan)
    return {
        "precision": np.where(said > 0, ratio(hits, said), never),
        "sensitivity": ratio(hits, true),
        "specificity": ratio(total - true - said + hits, total - true),
        "f1": ratio(2 * hits, true + said),
        "weight": true,
    }


def counted(counts: np.ndarray, name: str) -> np.ndarray:
    each = each_class(counts)
    if name == "f1_weighted":
        weight = each["weight"]
        return ratio((np.nan_to_num(each["f1"]) * weight).sum(-1), weight.sum(-1))
    kind = "sensitivity" if name == "balanced_accuracy" else name.removesuffix("_macro")
    known = np.isfinite(each[kind])
    return ratio(np.where(known, each[kind], 0.0).sum(-1), known.sum(-1))
