"""Figures of the class predictions of a fold. numpy only."""

from collections.abc import Sequence

import numpy as np

BINS = 15  # of confidence, for the calibration error


def confusion_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[C, C] counts: rows are true classes, columns predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def quotient(part: np.ndarray, whole: np.ndarray, empty: np.ndarray | float) -> np.ndarray:
    """part / whole, and `empty` where there is nothing to divide by."""
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)


def mean(values: np.ndarray) -> float:
    """Mean of what is defined; NaN when nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def class_figures(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Accuracy, F1 and the per-class figures of a confusion matrix.

    A class that is there and never predicted has precision 0; one that is neither there nor predicted has no
    figures (NaN) and is left out of macro means, as scikit-learn does.
    """
    hits, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    total = matrix.sum()
    each = {
        "precision": quotient(hits, said, np.where(true > 0, 0.0, np.nan)),
        "sensitivity": quotient(hits, true, np.nan),
        "specificity": quotient(total - true - said + hits, total - true, np.nan),
        "f1": quotient(2 * hits, true + said, np.nan),
    }
    figures = {"accuracy": float(hits.sum() / total), "balanced_accuracy": mean(each["sensitivity"])}
    figures["f1_weighted"] = float(np.nansum(each["f1"] * true) / total)
    for name, values in each.items():
        figures[f"{name}_macro"] = mean(values)
        figures |= {f"{name}_{label}": float(v) for label, v in zip(classes, values, strict=True)}
    return figures


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """P(a positive case scores above a negative one), ties counting half; NaN without either kind."""
    order = np.argsort(scores)
    ranked, hits = scores[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ups = np.add.reduceat(hits.astype(np.int64), starts)
    downs = np.diff(np.r_[starts, len(ranked)]) - ups
    pairs = float(ups.sum()) * float(downs.sum())
    below = np.cumsum(downs) - downs
    return float((ups * (below + downs / 2)).sum() / pairs) if pairs else float("nan")


def probability_figures(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """probabilities: [N, C] -> AUC of each class against the rest and their mean, Brier score, ECE."""
    each = {f"auc_{name}": auc(probabilities[:, c], labels == c) for c, name in enumerate(classes)}
    figures = {"auc_macro": mean(np.array(list(each.values()))), **each}
    figures["brier"] = brier(probabilities, labels)
    figures["ece"] = calibration_error(probabilities, labels)
    return figures


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over cases of Σ_c (p_c − y_c)²: from 0 to 2."""
    of_label = probabilities[np.arange(len(labels)), labels]
    return float(((probabilities**2).sum(1) - 2 * of_label + 1).mean())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, weighted by their cases."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
