"""Figures over weighted rows, by name: the same one for all cases, for a resample, for what it left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from reports import ranks, sums
from reports.stack import Stack

MEANS = ("dice", "iou", "hd95", "asd")
RATIOS = ("dice_pooled", "iou_pooled")
COUNTED = ("balanced_accuracy", "f1_macro", "f1_weighted", "precision_macro", "sensitivity_macro")
PER_CLASS = ("precision", "sensitivity", "specificity", "f1")

Under = Callable[[np.ndarray], np.ndarray]  # row weights [B, R] -> figures [B, C]


@dataclass(frozen=True)
class Statistic:
    """`over(stack)` does once what does not depend on the weights."""

    name: str
    over: Callable[[Stack], Under]


def statistic(name: str, classes: Sequence[str]) -> Statistic | None:
    """None for what the stored cases do not give."""
    prefix = "refined_" if name.startswith("refined_") else ""
    plain = name.removeprefix("refined_")
    if plain in MEANS:
        return of_mean(name, lambda s: s.columns[prefix + plain])
    if plain in RATIOS:
        return of_sums(name, lambda s: sums.pixels(s, prefix), lambda found: sums.overlap(found, plain))
    if plain == "accuracy":
        return of_mean(name, lambda s: sums.right(s, prefix))
    if plain == "incoherent" and "normal" in classes:
        return of_mean(name, lambda s: sums.incoherent(s, prefix))
    if plain in COUNTED:
        return of_sums(name, lambda s: sums.one_hot(s, prefix), lambda found: sums.counted(found, plain))
    return _of_chances(name, prefix, plain, classes) or _of_class(name, prefix, plain, classes)


def _of_chances(name: str, prefix: str, plain: str, classes: Sequence[str]) -> Statistic | None:
    if plain == "brier":
        return of_mean(name, lambda s: sums.brier(s, prefix))
    if plain == "ece":
        return of_sums(name, lambda s: sums.gaps(s, prefix), sums.calibration)
    if plain == "auc_macro":
        return _area(name, prefix, range(len(classes)))
    own = [number for number, label in enumerate(classes) if plain == f"auc_{label}"]
    return _area(name, prefix, own) if own else None


def _area(name: str, prefix: str, numbers: Sequence[int]) -> Statistic:
    def over(stack: Stack) -> Under:
        return partial(ranks.macro, [ranks.pairs(stack, prefix, number) for number in numbers])

    return Statistic(name, over)


def _of_class(name: str, prefix: str, plain: str, classes: Sequence[str]) -> Statistic | None:
    for number, label in enumerate(classes):
        stem = plain.removesuffix(f"_{label}")
        if stem != plain and stem in (*MEANS, *PER_CLASS):
            return _one_class(name, prefix, stem, number)
    return None


def _one_class(name: str, prefix: str, stem: str, number: int) -> Statistic:
    if stem in MEANS:
        return of_mean(name, lambda s: sums.only(s, prefix + stem, number))
    return of_sums(
        name, lambda s: sums.one_hot(s, prefix), lambda found: sums.each_class(found)[stem][..., number]
    )


def of_mean(name: str, values: Callable[[Stack], np.ndarray]) -> Statistic:
    return of_sums(name, lambda s: sums.defined(values(s)), sums.mean)


def of_sums(
    name: str, features: Callable[[Stack], np.ndarray], figure: Callable[[np.ndarray], np.ndarray]
) -> Statistic:
    """Of features [C, R, k]: all configurations and features in one matrix product."""

    def over(stack: Stack) -> Under:
        known = features(stack)
        configs, rows, width = known.shape
        flat = cache(lambda: known.transpose(1, 0, 2).reshape(rows, configs * width))

        def under(weights: np.ndarray) -> np.ndarray:
            if len(weights) == 1:  # laying a million rows out anew takes longer than the product
                return figure(np.einsum("r,crk->ck", weights[0], known)[None])
            return figure((weights @ flat()).reshape(len(weights), configs, width))

        return under

    return Statistic(name, over)


def weighted(name: str, weights: Mapping[str, float], classes: Sequence[str]) -> Statistic | None:
    """A weighted sum of statistics, such as the objective. As in the search, what a model has not (it lacks
    the task) leaves its weight to the rest, and what is undefined on these rows counts as 0."""
    parts = [what for metric in weights if (what := statistic(metric, classes))]
    if len(parts) < len(weights):
        return None

    shares = np.array([*weights.values()])

    def over(stack: Stack) -> Under:
        each = [part.over(stack) for part in parts]
        whole = np.stack([one(np.ones((1, len(stack.label)))) for one in each])  # [metrics, 1, C]
        zero = _has(whole) & (shares[:, None, None] > 0)

        def under(rows: np.ndarray) -> np.ndarray:
            found = np.stack([one(rows) for one in each])
            undefined = ~np.isfinite(found) & zero & (rows.sum(axis=1) > 0)[:, None]
            return _sum(np.where(undefined, 0.0, found), shares)

        return under

    return Statistic(name, over)


def _has(whole: np.ndarray) -> np.ndarray:
    """Whether each configuration has each metric. Where it is undefined for all, as for a class that a fold
    has no case of, no task is lacking."""
    defined = np.isfinite(whole)
    return np.asarray(defined | ~defined.any(axis=-1, keepdims=True))


def _sum(each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    known = np.isfinite(each)
    shares = np.where(known, weights.reshape(-1, *[1] * (each.ndim - 1)), 0.0)
    scale = sums.ratio(np.full(each.shape[1:], np.abs(weights).sum()), np.abs(shares).sum(axis=0))
    return scale * (shares * np.where(known, each, 0.0)).sum(axis=0)


def figures(stack: Stack, what: Statistic) -> np.ndarray:
    """[C]: the figure over all rows together."""
    return what.over(stack)(np.ones((1, len(stack.label))))[0]
