"""What choosing costs: the bootstrap bias-corrected estimate of the chosen configuration (BBC-CV).

The best of many looks better than it is. Each resample of the cases chooses on the validation rows of the
cases that were drawn, by the study's own rule, and scores what it chose on the test rows of the cases that
were not drawn. The mean over resamples is free of the optimism of choosing, and a little low, since a
resample chooses with fewer distinct cases.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports import pooled
from reports.pooled import Statistic
from reports.resample import CHUNK, draws, percentiles
from reports.rules import RULES, Evidence
from reports.stack import Stack


def frame(
    validation: Stack, test: Stack, score: Statistic, several: Sequence[Statistic],
    metrics: Sequence[Statistic], chosen: str, rule: str, evidence: Evidence, times: int, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each metric: as selected (pooled over cases), corrected, and the correction's interval.

    `evidence` gives what rules need beside the scores: cost, ratio, confidence, and which metrics fall.
    """
    found = corrected(validation, test, score, several, metrics, rule, evidence, times, seed)
    at = test.configs.index(chosen)
    rows = []
    for metric in metrics:
        low, high = percentiles(found[metric.name], evidence.confidence)
        selected = float(pooled.figures(test, metric)[at])
        estimate = float(np.nanmean(found[metric.name]))
        rows.append({
            "metric": metric.name, "config_id": chosen, "selected": selected, "corrected": estimate,
            "low": float(low), "high": float(high), "optimism": selected - estimate,
            "validation": float(pooled.figures(validation, metric)[at]),
            "bootstraps": int(np.isfinite(found[metric.name]).sum()), "configurations": len(test.configs),
            "cases": len(np.unique(test.case)), "clusters": test.clusters,
        })  # fmt: skip
    return rows


def corrected(
    validation: Stack, test: Stack, score: Statistic, several: Sequence[Statistic],
    metrics: Sequence[Statistic], rule: str, evidence: Evidence, times: int, seed: int,
) -> Mapping[str, np.ndarray]:  # fmt: skip
    """metric -> [times]: the out-of-bag test figure of what each resample chose."""
    names = np.union1d(validation.cluster_names, test.cluster_names)
    drawn = draws(len(names), times, seed)
    inner, outer = (np.searchsorted(names, s.cluster_names)[s.cluster] for s in (validation, test))
    inside = [(what, what.features(validation)) for what in (score, *several)]
    outside = {metric.name: metric.features(test) for metric in metrics}
    found: dict[str, list[np.ndarray]] = {metric.name: [] for metric in metrics}
    for at in range(0, times, CHUNK):
        part = drawn[at : at + CHUNK]
        picks = _picks(inside, part[:, inner], validation.fold, rule, evidence)
        left = (part[:, outer] == 0).astype(np.float64)
        for metric in metrics:
            values = metric.figure(_chosen_sums(outside[metric.name], left, picks))
            found[metric.name].append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


Piece = tuple[Statistic, np.ndarray]


def _picks(
    pieces: Sequence[Piece], weights: np.ndarray, fold: np.ndarray, rule: str, evidence: Evidence
) -> np.ndarray:
    """[B]: the position of what each resample chose, by fold figures of the drawn validation cases."""
    cubes = []
    for what, features in pieces:
        folds = [what.figure(pooled.sums(features[:, fold == f], weights[:, fold == f]))
                 for f in np.unique(fold)]  # fmt: skip
        cubes.append(np.stack(folds, axis=-1))  # [B, C, folds]
    scores, several = cubes[0], cubes[1:]
    shaped = np.stack(several, axis=-3) if several else np.zeros((len(weights), 0, *scores.shape[1:]))
    now = Evidence(scores, shaped, evidence.cost, evidence.ratio, evidence.confidence)
    return np.asarray(RULES[rule](now))


def _chosen_sums(features: np.ndarray, left: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """[B, k]: out-of-bag sums of each resample's own choice; a product for each distinct choice."""
    found = np.zeros((len(left), features.shape[-1]))
    for config in np.unique(picks):
        mine = picks == config
        found[mine] = left[mine] @ features[config]
    return found
