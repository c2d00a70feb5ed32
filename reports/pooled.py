"""Figures over cases that are functions of weighted sums, so that a thousand resamples cost one product.

A `Statistic` turns each row into a few numbers (`features`), and weighted sums of them into a figure:
a mean, a ratio of pixels, or anything that a confusion matrix gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.stack import Stack

MEANS = ("dice", "iou", "hd95", "asd")
RATIOS = ("dice_pooled", "iou_pooled")
COUNTED = ("balanced_accuracy", "f1_macro", "f1_weighted", "precision_macro", "sensitivity_macro")
PER_CLASS = ("precision", "sensitivity", "specificity", "f1")


@dataclass(frozen=True)
class Statistic:
    """`features(stack)` is [C, R, k]; `figure` maps sums [..., k] to figures [...]."""

    name: str
    features: Callable[[Stack], np.ndarray]
    figure: Callable[[np.ndarray], np.ndarray]


def statistic(name: str, classes: Sequence[str]) -> Statistic | None:
    """None for what is no function of sums, such as an AUC."""
    prefix = "refined_" if name.startswith("refined_") else ""
    plain = name.removeprefix("refined_")
    if plain in MEANS:
        return Statistic(name, lambda s: _defined(s.columns[prefix + plain]), mean)
    if plain in RATIOS:
        return Statistic(name, lambda s: _pixels(s, prefix), lambda sums: _overlap(sums, plain))
    if plain == "accuracy":
        return Statistic(name, lambda s: _defined(_right(s, prefix)), mean)
    if plain == "incoherent" and "normal" in classes:
        return Statistic(name, lambda s: _defined(_incoherent(s, prefix)), mean)
    if plain in COUNTED:
        return Statistic(name, lambda s: _one_hot(s, prefix), lambda sums: _counted(sums, plain))
    return _of_class(name, prefix, plain, classes)


def _of_class(name: str, prefix: str, plain: str, classes: Sequence[str]) -> Statistic | None:
    for number, label in enumerate(classes):
        stem = plain.removesuffix(f"_{label}")
        if stem != plain and stem in (*MEANS, *PER_CLASS):
            return _one_class(name, prefix, stem, number)
    return None


def _one_class(name: str, prefix: str, stem: str, number: int) -> Statistic:
    if stem in MEANS:
        return Statistic(name, lambda s: _defined(_only(s, prefix + stem, number)), mean)
    return Statistic(name, lambda s: _one_hot(s, prefix), lambda sums: _each(sums)[stem][..., number])


@dataclass(frozen=True)
class Part:
    what: Statistic
    weight: float


def weighted(name: str, weights: Mapping[str, float], classes: Sequence[str]) -> Statistic | None:
    """A weighted sum of statistics, such as the objective. As in the search, what a model has not (it lacks
    the task) leaves its weight to the rest."""
    parts = [Part(what, w) for metric, w in weights.items() if (what := statistic(metric, classes))]
    if len(parts) < len(weights):
        return None

    def features(stack: Stack) -> np.ndarray:
        return np.concatenate([part.what.features(stack) for part in parts], axis=-1)

    def figure(sums: np.ndarray) -> np.ndarray:
        ends = np.cumsum([width(part.what.name, classes) for part in parts])[:-1]
        pieces = np.split(sums, ends, axis=-1)
        each = np.stack([p.what.figure(x) for p, x in zip(parts, pieces, strict=True)])
        return _sum(each, np.array([part.weight for part in parts]))

    return Statistic(name, features, figure)


def _sum(each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    known = np.isfinite(each)
    shares = np.where(known, weights.reshape(-1, *[1] * (each.ndim - 1)), 0.0)
    scale = _ratio(np.full(each.shape[1:], np.abs(weights).sum()), np.abs(shares).sum(axis=0))
    return scale * (shares * np.where(known, each, 0.0)).sum(axis=0)


def width(name: str, classes: Sequence[str]) -> int:
    """How many numbers a statistic sums for each row."""
    plain = name.removeprefix("refined_")
    counted = plain in COUNTED or any(plain == f"{p}_{c}" for p in PER_CLASS for c in classes)
    return len(classes) ** 2 if counted else 2


def figures(stack: Stack, what: Statistic) -> np.ndarray:
    """[C]: the figure over all rows together."""
    return what.figure(what.features(stack).sum(axis=1))


def resampled(stack: Stack, what: Statistic, weights: np.ndarray) -> np.ndarray:
    """[B, C]: the figure under each of the row weights [B, R]."""
    return what.figure(sums(what.features(stack), weights))


def sums(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[C, R, k] under [B, R] -> [B, C, k], as one matrix product."""
    configs, rows, width = features.shape
    flat = features.transpose(1, 0, 2).reshape(rows, configs * width)
    return (weights @ flat).reshape(len(weights), configs, width)


def mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0], sums[..., 1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _defined(values: np.ndarray) -> np.ndarray:
    """Value and whether there is one: undefined distances are left out of the mean."""
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0.0), known.astype(float)], axis=-1)


def _only(stack: Stack, column: str, number: int) -> np.ndarray:
    return np.where(stack.label == number, stack.columns[column], np.nan)


def _right(stack: Stack, prefix: str) -> np.ndarray:
    said = stack.columns[f"{prefix}predicted"]
    return np.where(said >= 0, said == stack.label, np.nan)


def _incoherent(stack: Stack, prefix: str) -> np.ndarray:
    """Class normal with a lesion in the mask, or another class with none."""
    normal = stack.columns[f"{prefix}predicted"] == stack.classes.index("normal")
    lesion = stack.columns[f"{prefix}tp"] + stack.columns[f"{prefix}fp"]
    return np.where(np.isfinite(lesion), normal == (lesion > 0), np.nan)


def _pixels(stack: Stack, prefix: str) -> np.ndarray:
    tp, fp, fn = (np.nan_to_num(stack.columns[prefix + name]) for name in ("tp", "fp", "fn"))
    return np.stack([tp, fp + fn], axis=-1)


def _overlap(sums: np.ndarray, name: str) -> np.ndarray:
    twice = 2.0 if name == "dice_pooled" else 1.0
    part, whole = twice * sums[..., 0], twice * sums[..., 0] + sums[..., 1]
    return np.where(whole > 0, _ratio(part, whole), 1.0)


def _one_hot(stack: Stack, prefix: str) -> np.ndarray:
    """[C, R, classes²]: where a row falls in the confusion matrix."""
    said, classes = stack.columns[f"{prefix}predicted"], len(stack.classes)
    cell = stack.label * classes + said
    return np.asarray((cell[..., None] == np.arange(classes**2)) & (said >= 0)[..., None], dtype=float)


def _each(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Per class [..., classes] from counts [..., classes²]; an absent class has no figures."""
    classes = round(float(np.sqrt(counts.shape[-1])))
    matrix = counts.reshape(*counts.shape[:-1], classes, classes)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, said, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))[..., None]
    never = np.where(true > 0, 0.0, np.nan)
    return {
        "precision": np.where(said > 0, _ratio(hits, said), never),
        "sensitivity": _ratio(hits, true),
        "specificity": _ratio(total - true - said + hits, total - true),
        "f1": _ratio(2 * hits, true + said),
        "weight": true,
    }


def _counted(counts: np.ndarray, name: str) -> np.ndarray:
    each = _each(counts)
    if name == "f1_weighted":
        weight = each["weight"]
        return _ratio((np.nan_to_num(each["f1"]) * weight).sum(-1), weight.sum(-1))
    kind = "sensitivity" if name == "balanced_accuracy" else name.removesuffix("_macro")
    known = np.isfinite(each[kind])
    return _ratio(np.where(known, each[kind], 0.0).sum(-1), known.sum(-1))
