"""Why a rule picked what it picked: one sentence, with the numbers that decided."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from engine.picking import (
    Evidence,
    best_mean,
    front,
    lower_bounds,
    mean_of,
    median_ranks,
    one_se_floor,
)
from engine.spec.select import Select
from engine.words import plural
from reports.measures import label, listed
from reports.tables import number


def _why_best(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    mean, folds = mean_of(e.scores), e.scores.shape[-1]
    over = f"{_pm(e.scores[best])} over {plural(folds, 'fold')}"
    if len(configs) < 2:
        return f"{configs[best]} is the only complete configuration; its mean validation score is {over}."
    head = f"{configs[best]} has the highest mean validation score, {over}, of {len(configs)} complete "
    head += "configurations"
    second = int(np.argsort(-mean, kind="stable")[1])
    if mean[second] == mean[best]:
        return head + f"; {configs[second]} has the same mean, and of equals the first is taken."
    return head + f"; the next, {configs[second]}, has {_pm(e.scores[second])}."


def _why_one_se(
    e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]
) -> str:
    top, mean, floor = int(best_mean(e)), mean_of(e.scores), float(one_se_floor(e)[0])
    eligible = int((mean >= floor).sum())
    head = (
        f"{configs[best]} is the cheapest ({_count(e.cost[best])} {select.cost}) of the "
        f"{plural(eligible, 'configuration')} within one standard error of the best mean: its "
        f"score {_score(mean[best])} is at least {_score(floor)}"
    )
    if top == best:
        return head + "; it has the best mean itself."
    return head + f"; the best, {configs[top]}, has {_score(mean[top])} with {_count(e.cost[top])}."


def _why_lower(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    bounds, mean = lower_bounds(e), mean_of(e.scores)
    top = int(best_mean(e))
    head = (
        f"{configs[best]} has the highest lower end of the {select.confidence:.0%} interval of the mean "
        f"validation score: {_score(bounds[best])} (mean {_score(mean[best])})"
    )
    if top == best:
        return head + ("; it has the best mean as well." if len(configs) > 1 else "; no other is complete.")
    return head + f"; the best mean, {configs[top]}, has {_score(bounds[top])} (mean {_score(mean[top])})."


def _why_rank(e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]) -> str:
    medians = median_ranks(e)
    return (
        f"{configs[best]} has the best median rank, {medians[best]:g} of {len(configs)}, over "
        f"{plural(e.scores.shape[-1], 'fold')} and {_list(metrics)}; its mean score is "
        f"{_score(mean_of(e.scores)[best])}."
    )


def _why_pareto(
    e: Evidence, best: int, configs: Sequence[str], select: Select, metrics: Sequence[str]
) -> str:
    points = e.several.mean(axis=-1).T
    size = int(front(points).sum())
    shown = ", ".join(f"{label(m)} {abs(v):.4f}" for m, v in zip(metrics, points[best], strict=True))
    return (
        f"{configs[best]} is the knee of the front of {_list(metrics)}: {size} of "
        f"{plural(len(configs), 'configuration')} {'is' if size == 1 else 'are'} not dominated, and it lies "
        f"nearest to the best of each (validation means: {shown})."
    )


REASONS: Mapping[str, Callable[[Evidence, int, Sequence[str], Select, Sequence[str]], str]] = {
    "best_mean": _why_best, "one_se": _why_one_se, "lower_bound": _why_lower,
    "median_rank": _why_rank, "pareto": _why_pareto,
}  # fmt: skip


def _score(value: float) -> str:
    """Like in the tables, also where it is below zero."""
    return number(value, 4)


def _pm(scores: np.ndarray) -> str:
    spread = f" ± {scores.std(ddof=1):.4f}" if len(scores) > 1 else ""
    return f"{_score(scores.mean())}{spread}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _list(metrics: Sequence[str]) -> str:
    return listed([label(m) for m in metrics])
