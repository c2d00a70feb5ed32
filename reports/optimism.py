"""What choosing costs: the bootstrap bias-corrected estimate of the chosen configuration (BBC-CV).

The best of many looks better than it is. Each resample of the cases chooses on the validation rows of the
cases that were drawn, by the study's own rule, and scores what it chose on the test rows of the cases that
were not drawn. A resample that draws no validation case of some fold has nothing to choose by and is left
out. The mean over resamples is free of the optimism of choosing, and a little low, since a resample chooses
with fewer distinct cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.picking import RULES, Evidence
from reports import pooled
from reports.pooled import Statistic, Under
from reports.resample import CHUNK, by_parts, draws, percentiles
from reports.stack import Stack


def frame(
    validation: Stack, test: Stack, score: Statistic, several: Sequence[Statistic],
    metrics: Sequence[Statistic], chosen: str, rule: str, evidence: Evidence, times: int, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each metric: as selected (pooled over cases), corrected, and the correction's interval.

    `evidence` gives what rules need beside the scores: cost, ratio, confidence, and which metrics fall.
    """
    found, picks = corrected(validation, test, score, several, metrics, rule, evidence, times, seed)
    at = test.row[chosen]
    rows = []
    for metric in metrics:
        selected = float(pooled.figures(test, metric)[at])
        if not (np.isfinite(selected) and np.isfinite(found[metric.name]).any()):
            continue  # of a task that the chosen one has not
        low, high = percentiles(found[metric.name], evidence.confidence)
        estimate = float(np.nanmean(found[metric.name]))
        rows.append({
            "metric": metric.name, "config_id": chosen, "selected": selected, "corrected": estimate,
            "low": float(low), "high": float(high), "optimism": selected - estimate,
            "validation": float(pooled.figures(validation, metric)[at]),
            "bootstraps": int(np.isfinite(found[metric.name]).sum()), "configurations": len(test.configs),
            "undecided": int((picks < 0).sum()), "without": _without(found[metric.name], picks, metric, test),
            "cases": len(np.unique(test.case)), "clusters": test.clusters,
        })  # fmt: skip
    return rows


def corrected(
    validation: Stack, test: Stack, score: Statistic, several: Sequence[Statistic],
    metrics: Sequence[Statistic], rule: str, evidence: Evidence, times: int, seed: int,
) -> tuple[Mapping[str, np.ndarray], np.ndarray]:  # fmt: skip
    """metric -> [times]: the out-of-bag test figure of what each resample chose; and what it chose."""
    names = np.union1d(validation.cluster_names, test.cluster_names)
    drawn = draws(len(names), times, seed)
    inner, outer = (np.searchsorted(names, s.cluster_names)[s.cluster] for s in (validation, test))
    folds = [_inside(validation, inner, fold, (score, *several)) for fold in np.unique(validation.fold)]
    picks = np.concatenate([_picks(folds, drawn[at : at + CHUNK], rule, evidence)
                            for at in range(0, times, CHUNK)])  # fmt: skip
    left = (drawn == 0).astype(np.float64)
    found = {metric.name: np.full(times, np.nan) for metric in metrics}
    for config in np.unique(picks[picks >= 0]):
        mine, own = picks == config, test.pick([test.configs[config]])
        for metric in metrics:
            found[metric.name][mine] = by_parts(metric.over(own), left[mine], outer)[:, 0]
    return found, picks


def _without(found: np.ndarray, picks: np.ndarray, metric: Statistic, test: Stack) -> int:
    """Resamples that chose a network of another task, which has no such figure at all."""
    lacking = np.flatnonzero(~np.isfinite(pooled.figures(test, metric)))
    return int((np.isin(picks, lacking) & ~np.isfinite(found)).sum())


@dataclass(frozen=True)
class Fold:
    """The validation rows of one fold: the cluster of each, and figures under weights of the rows."""

    cluster: np.ndarray
    score: Under
    several: Sequence[Under]


def _inside(validation: Stack, cluster: np.ndarray, fold: int, what: Sequence[Statistic]) -> Fold:
    at = np.flatnonzero(validation.fold == fold)
    score, *several = (one.over(validation.rows(at)) for one in what)
    return Fold(cluster[at], score, several)


def _picks(folds: Sequence[Fold], drawn: np.ndarray, rule: str, evidence: Evidence) -> np.ndarray:
    """[B]: the position of what each resample chose, by fold figures of the drawn validation cases; -1 where
    a fold had none of them, so that no configuration has a mean."""
    weights = [drawn[:, fold.cluster] for fold in folds]
    scores = np.stack([f.score(w) for f, w in zip(folds, weights, strict=True)], axis=-1)  # [B, C, folds]
    several = np.zeros((len(drawn), len(folds[0].several), *scores.shape[1:]))
    for number, (fold, weight) in enumerate(zip(folds, weights, strict=True)):
        for metric, under in enumerate(fold.several):
            several[:, metric, :, number] = under(weight)
    now = Evidence(scores, several, evidence.cost, evidence.ratio, evidence.confidence)
    chosen = np.asarray(RULES[rule](now))
    return np.where(np.isfinite(scores.mean(axis=-1)).any(axis=-1), chosen, -1)
