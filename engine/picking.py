"""Picking rules: validation figures in, the position of the pick out.

Reports pick the study's configuration by them, a nested search that of each outer fold. They work over
leading axes, so that the bootstrap of a report picks by the very same rule. `scipy.stats` takes most of a
second to import, so it waits until a rule needs it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.spec.select import Select

UNDEFINED = 1e9  # below any metric, turned so that more is better
READ_METRICS = ("pareto", "median_rank")  # these rules do; all others go by the score alone


@dataclass(frozen=True)
class Evidence:
    """What a rule may read. `scores` [..., configs, folds]; `several` [..., metrics, configs, folds],
    turned so that more is better; `cost` [configs]; `ratio` n_validation/n_train."""

    scores: np.ndarray
    several: np.ndarray
    cost: np.ndarray
    ratio: float
    confidence: float


def outer_rule(select: Select, objectives: Sequence[str]) -> str:
    """What picks within an outer fold: `select.rule`, as far as it reads what a search knows of a fold. That
    is its score, each of several objectives (`objectives`, empty for a weighted sum), and sizes; seconds
    would pick otherwise after each restart."""
    if select.rule == "one_se":
        return "best_mean" if select.cost == "seconds" else "one_se"
    if select.rule in READ_METRICS:
        wanted = select.metrics or objectives
        return select.rule if wanted and set(wanted) <= set(objectives) else "best_mean"
    return select.rule


def corrected_error(std: np.ndarray, n: np.ndarray, ratio: float) -> np.ndarray:
    """Nadeau and Bengio's error of a mean over folds whose training parts overlap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return std * np.sqrt(1 / n + (ratio if math.isfinite(ratio) else 0.0))


def mean_of(scores: np.ndarray) -> np.ndarray:
    """[..., configs]; an undefined mean is never the best."""
    return np.nan_to_num(scores.mean(axis=-1), nan=-np.inf)


def spread_of(scores: np.ndarray) -> np.ndarray:
    n = scores.shape[-1]
    if n < 2:
        return np.zeros(scores.shape[:-1])
    return np.nan_to_num(scores.std(axis=-1, ddof=1))


def best_mean(evidence: Evidence) -> np.ndarray:
    return np.asarray(mean_of(evidence.scores).argmax(axis=-1))


def one_se_floor(evidence: Evidence) -> np.ndarray:
    """The best mean less its own plain standard error."""
    best = best_mean(evidence)[..., None]
    error = spread_of(evidence.scores) / np.sqrt(evidence.scores.shape[-1])
    mean = mean_of(evidence.scores)
    return np.take_along_axis(mean, best, -1) - np.take_along_axis(error, best, -1)


def one_se(evidence: Evidence) -> np.ndarray:
    """The cheapest above the floor; of equally cheap ones the best."""
    mean = mean_of(evidence.scores)
    cost = np.broadcast_to(evidence.cost, mean.shape)
    eligible = mean >= one_se_floor(evidence)
    cheapest = np.where(eligible, cost, np.inf).min(axis=-1, keepdims=True)
    return np.asarray(np.where(eligible & (cost <= cheapest), mean, -np.inf).argmax(axis=-1))


def t_quantile(degrees: np.ndarray | int, confidence: float) -> np.ndarray:
    """How many errors a two-sided interval reaches; what `scipy.stats` calls, without its long import."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, (1 + confidence) / 2))


def lower_bounds(evidence: Evidence) -> np.ndarray:
    n = evidence.scores.shape[-1]
    error = corrected_error(spread_of(evidence.scores), np.array(n), evidence.ratio)
    return mean_of(evidence.scores) - t_quantile(max(n - 1, 1), evidence.confidence) * error


def lower_bound(evidence: Evidence) -> np.ndarray:
    return np.asarray(lower_bounds(evidence).argmax(axis=-1))


def median_ranks(evidence: Evidence) -> np.ndarray:
    """Rank 1 is best; ties share their mean rank; the median runs over folds and metrics."""
    from scipy import stats

    ranks = stats.rankdata(-np.nan_to_num(evidence.several, nan=-np.inf), axis=-2)
    return np.asarray(
        np.median(np.moveaxis(ranks, -3, -1).reshape(*ranks.shape[:-3], ranks.shape[-2], -1), -1)
    )


def median_rank(evidence: Evidence) -> np.ndarray:
    """Of equal medians the better mean score."""
    medians = median_ranks(evidence)
    lowest = medians.min(axis=-1, keepdims=True)
    return np.asarray(np.where(medians <= lowest, mean_of(evidence.scores), -np.inf).argmax(axis=-1))


def front(points: np.ndarray) -> np.ndarray:
    """Which of the points [configs, metrics] no other one dominates. One with an undefined metric is on it
    only where all have one: it would stretch that metric's range beyond measure."""
    defined = np.isfinite(points).all(axis=-1)
    among = defined if defined.any() else ~defined
    points = np.nan_to_num(points, nan=-UNDEFINED, neginf=-UNDEFINED)
    no_worse = (points[:, None] >= points[None]).all(axis=-1)
    better = (points[:, None] > points[None]).any(axis=-1)
    return np.asarray(among & ~(no_worse & better & among[:, None]).any(axis=0))


def knee(points: np.ndarray) -> int:
    """The member of the front that lies nearest to the best of each metric, each scaled to its range."""
    members = np.flatnonzero(front(points))
    points = np.nan_to_num(points, nan=-UNDEFINED, neginf=-UNDEFINED)
    low, high = points[members].min(axis=0), points[members].max(axis=0)
    scaled = (points[members] - low) / np.where(high > low, high - low, 1.0)
    return int(members[np.linalg.norm(1 - scaled, axis=1).argmin()])


def pareto(evidence: Evidence) -> np.ndarray:
    points = np.moveaxis(evidence.several.mean(axis=-1), -2, -1)
    flat = points.reshape(-1, *points.shape[-2:])
    return np.array([knee(one) for one in flat]).reshape(points.shape[:-2])


RULES: Mapping[str, Callable[[Evidence], np.ndarray]] = {
    "best_mean": best_mean, "one_se": one_se, "lower_bound": lower_bound,
    "median_rank": median_rank, "pareto": pareto,
}  # fmt: skip
