"""Picking rules: validation figures in, the pick and a sentence with its numbers out.

The arithmetic works over leading axes, so that the bootstrap of `optimism.py` picks by the same rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from engine.errors import SonotuneError
from engine.spec.select import Select
from reports.aggregate import Figures, corrected_error
from reports.load import Run
from reports.measures import higher_is_better, label, objective


@dataclass(frozen=True)
class Pick:
    config_id: str
    rule: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What a rule may read. `scores` [..., configs, folds]; `several` [..., metrics, configs, folds],
    turned so that more is better; `cost` [configs]; `ratio` n_validation/n_train."""

    scores: np.ndarray
    several: np.ndarray
    cost: np.ndarray
    ratio: float
    confidence: float


def eligible(run: Run, known: Figures) -> Figures:
    """Without what breaks a bound of `search.constraints`: that may be trained, but is not picked."""
    search = run.study.get("search")
    bounds = search.get("constraints") if isinstance(search, Mapping) else None
    kept = [c for c in known.configs if _within(run, c, bounds if isinstance(bounds, Mapping) else {})]
    return known.only(kept)


def _within(run: Run, config: str, bounds: Mapping[str, Any]) -> bool:
    results = run.by_id[config].folds.values()
    return all(
        max(float(getattr(r, name)) for r in results) <= float(bound)
        for name, bound in bounds.items()
        if bound is not None and name in BOUNDED
    )


BOUNDED = ("latency_ms", "parameters", "flops")


def choose(run: Run, known: Figures, select: Select) -> Pick | None:
    """None when no eligible configuration has all of its folds."""
    if not known.configs:
        return None
    metrics = metrics_of(run, select)
    evidence = evidence_of(run, known, select, metrics)
    best = int(RULES[select.rule](evidence))
    reason = REASONS[select.rule](evidence, best, known.configs, select, metrics)
    return Pick(known.configs[best], select.rule, reason)


def metrics_of(run: Run, select: Select) -> tuple[str, ...]:
    return select.metrics or tuple(dict.fromkeys(m for one in objective(run.study) for m in one))


def evidence_of(run: Run, known: Figures, select: Select, metrics: Sequence[str]) -> Evidence:
    unknown = [m for m in metrics if m not in known.at]
    if unknown and select.rule in ("pareto", "median_rank"):
        raise SonotuneError(
            f"select.metrics names {unknown[0]!r}, which the run did not measure; it has "
            f"{', '.join(known.metrics)}"
        )
    several = [
        known.of("validation", m) * (1 if higher_is_better(m) else -1) for m in metrics if m in known.at
    ]
    shape = (0, len(known.configs), len(known.folds))
    return Evidence(
        scores=known.of("validation", "score"),
        several=np.stack(several) if several else np.zeros(shape),
        cost=costs(run, known.configs, select.cost),
        ratio=known.ratio["validation"],
        confidence=select.confidence,
    )


def costs(run: Run, configs: Sequence[str], cost: str) -> np.ndarray:
    """Parameters and operations of one network; seconds of all folds together."""
    fold = sum if cost == "seconds" else max
    return np.array([float(fold(getattr(r, cost) for r in run.by_id[c].folds.values())) for c in configs])


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


def lower_bounds(evidence: Evidence) -> np.ndarray:
    n = evidence.scores.shape[-1]
    error = corrected_error(spread_of(evidence.scores), np.array(n), evidence.ratio)
    return mean_of(evidence.scores) - stats.t.ppf((1 + evidence.confidence) / 2, max(n - 1, 1)) * error


def lower_bound(evidence: Evidence) -> np.ndarray:
    return np.asarray(lower_bounds(evidence).argmax(axis=-1))


def median_ranks(evidence: Evidence) -> np.ndarray:
    """Rank 1 is best; ties share their mean rank; the median runs over folds and metrics."""
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
    """Which of the points [configs, metrics] no other one dominates."""
    no_worse = (points[:, None] >= points[None]).all(axis=-1)
    better = (points[:, None] > points[None]).any(axis=-1)
    return np.asarray(~(no_worse & better).any(axis=0))


def knee(points: np.ndarray) -> int:
    """The member of the front that lies nearest to the best of each metric, each scaled to its range."""
    members = np.flatnonzero(front(points))
    low, high = points[members].min(axis=0), points[members].max(axis=0)
    scaled = (points[members] - low) / np.where(high > low, high - low, 1.0)
    return int(members[np.linalg.norm(1 - scaled, axis=1).argmin()])


def pareto(evidence: Evidence) -> np.ndarray:
    points = np.nan_to_num(np.moveaxis(evidence.several.mean(axis=-1), -2, -1), nan=-1e9)
    flat = points.reshape(-1, *points.shape[-2:])
    return np.array([knee(one) for one in flat]).reshape(points.shape[:-2])


RULES: Mapping[str, Callable[[Evidence], np.ndarray]] = {
    "best_mean": best_mean, "one_se": one_se, "lower_bound": lower_bound,
    "median_rank": median_rank, "pareto": pareto,
}  # fmt: skip


def _why_best(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    mean, std = mean_of(e.scores), spread_of(e.scores)
    head = f"{configs[best]} has the highest mean validation score, {_pm(mean[best], std[best])} over "
    head += f"{e.scores.shape[-1]} folds, of {len(configs)} complete configurations"
    if len(configs) < 2:
        return head + "."
    second = int(np.argsort(-mean, kind="stable")[1])
    return head + f"; the next, {configs[second]}, has {_pm(mean[second], std[second])}."


def _why_one_se(
    e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]
) -> str:
    top, mean, floor = int(best_mean(e)), mean_of(e.scores), float(one_se_floor(e)[0])
    eligible = int((mean >= floor).sum())
    return (
        f"{configs[best]} is the cheapest ({_count(e.cost[best])} {select.cost}) of the {eligible} "
        f"configurations within one standard error of the best mean: its score {mean[best]:.4f} is at least "
        f"{floor:.4f}; the best, {configs[top]}, has {mean[top]:.4f} with {_count(e.cost[top])}."
    )


def _why_lower(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    bounds, mean = lower_bounds(e), mean_of(e.scores)
    top = int(best_mean(e))
    return (
        f"{configs[best]} has the highest lower end of the {select.confidence:.0%} interval of the mean "
        f"validation score: {bounds[best]:.4f} (mean {mean[best]:.4f}); the best mean, {configs[top]}, "
        f"has {bounds[top]:.4f} (mean {mean[top]:.4f})."
    )


def _why_rank(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    medians = median_ranks(e)
    return (
        f"{configs[best]} has the best median rank, {medians[best]:g} of {len(configs)}, over "
        f"{e.scores.shape[-1]} folds and {_list(metrics)}; its mean score is {mean_of(e.scores)[best]:.4f}."
    )


def _why_pareto(
    e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]
) -> str:
    points = e.several.mean(axis=-1).T
    size = int(front(np.nan_to_num(points, nan=-1e9)).sum())
    shown = ", ".join(f"{label(m)} {abs(v):.4f}" for m, v in zip(metrics, points[best], strict=True))
    return (
        f"{configs[best]} is the knee of the front of {_list(metrics)}: {size} of {len(configs)} "
        f"configurations are not dominated, and it lies nearest to the best of each ({shown})."
    )


REASONS: Mapping[str, Callable[[Evidence, int, Sequence[str], Select, Sequence[str]], str]] = {
    "best_mean": _why_best, "one_se": _why_one_se, "lower_bound": _why_lower,
    "median_rank": _why_rank, "pareto": _why_pareto,
}  # fmt: skip


def _pm(mean: float, std: float) -> str:
    return f"{mean:.4f} ± {std:.4f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _list(metrics: Sequence[str]) -> str:
    return ", ".join(label(m) for m in metrics)
