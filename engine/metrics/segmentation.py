"""Figures of the masks of a fold, over all cases and per class, from columns of case scores. numpy only."""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.metrics.classification import quotient

# Case columns whose names would read as classification figures once they are averaged over a fold.
RENAMED = {"precision": "mask_precision", "recall": "mask_recall", "specificity": "mask_specificity"}


def grouped(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Sums per class, and over all cases in the last place: [classes + 1]."""
    sums = np.bincount(labels, weights=values, minlength=classes)
    return np.append(sums, sums.sum())


def named(name: str, values: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """The figure over all cases under its name, that of each class under name_class."""
    return {name: float(values[-1])} | {
        f"{name}_{label}": float(value) for label, value in zip(classes, values[:-1], strict=True)
    }


def mean_figures(
    columns: Mapping[str, np.ndarray], surface: Sequence[str], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Means over the cases; surface distances over the cases that have one, the others counted."""
    figures: dict[str, float] = {}
    for column, values in columns.items():
        name, known = RENAMED.get(column, column), ~np.isnan(values)
        cases = grouped(known, labels, len(classes))
        figures |= named(
            name, quotient(grouped(np.where(known, values, 0), labels, len(classes)), cases, np.nan), classes
        )
        if column in surface:
            figures |= named(f"{name}_undefined", grouped(~known, labels, len(classes)), classes)
    return figures


def pooled_figures(
    columns: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Overlaps of all pixels of all cases thrown together, as some papers print them."""
    tp, fp, fn, tn = (grouped(columns[name], labels, len(classes)) for name in ("tp", "fp", "fn", "tn"))
    nothing = np.where(tp + fp + fn + tn > 0, 1.0, np.nan)  # no lesion on either side is an agreement
    pooled = {
        "dice_pooled": quotient(2 * tp, 2 * tp + fp + fn, nothing),
        "iou_pooled": quotient(tp, tp + fp + fn, nothing),
        "pixel_accuracy_pooled": quotient(tp + tn, tp + fp + fn + tn, np.nan),
        "mask_precision_pooled": quotient(tp, tp + fp, np.where(fn > 0, 0.0, nothing)),
        "mask_recall_pooled": quotient(tp, tp + fn, np.where(fp > 0, 0.0, nothing)),
    }
    return _all_named(pooled, classes)


def lesion_figures(
    columns: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Detection over all lesions of the fold; NaN where there is nothing to detect or nothing was said."""
    names = ("lesions", "lesions_hit", "lesions_false")
    lesions, hit, false = (grouped(columns[name], labels, len(classes)) for name in names)
    detection = {
        "lesion_recall": quotient(hit, lesions, np.nan),
        "lesion_precision": quotient(hit, hit + false, np.nan),
        "lesion_f1": quotient(2 * hit, lesions + hit + false, np.nan),
    }
    return _all_named(detection, classes)


def _all_named(figures: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, float]:
    return {
        key: value for name, values in figures.items() for key, value in named(name, values, classes).items()
    }
