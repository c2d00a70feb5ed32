"""Bootstraps of the cases. Cases of one patient or duplicate group are drawn together."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.pooled import Statistic, Under
from reports.stack import Stack

CHUNK = 250  # resamples at a time: bounds the memory whatever their number


def draws(clusters: int, times: int, seed: int) -> np.ndarray:
    """[times, clusters]: how often each cluster was drawn, with replacement."""
    rng = np.random.default_rng([seed, clusters])
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=times).astype(np.float64)


def intervals(
    stack: Stack, metrics: Sequence[Statistic], times: int, seed: int, confidence: float
) -> list[dict[str, Any]]:
    """Per configuration and metric: the pooled figure and its percentile interval."""
    if not stack.configs:
        return []
    drawn = draws(stack.clusters, times, seed)
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        under = metric.over(stack)
        whole = under(np.ones((1, len(stack.label))))[0]
        low, high = percentiles(by_parts(under, drawn, stack.cluster), confidence)
        rows += [
            {"config_id": config, "metric": metric.name, "pooled": float(whole[c]),
             "bootstrap_low": float(low[c]), "bootstrap_high": float(high[c])}
            for c, config in enumerate(stack.configs)
        ]  # fmt: skip
    return rows


def by_parts(under: Under, weights: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """[times, C], of weights of clusters [times, clusters]."""
    parts = [under(weights[at : at + CHUNK][:, cluster]) for at in range(0, len(weights), CHUNK)]
    return np.concatenate(parts)


def percentiles(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis, leaving out what is undefined."""
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]
    if np.isfinite(values).all():  # NumPy's variant that skips NaN goes column by column, which is slow
        low, high = np.percentile(values, ends, axis=0)
        return low, high
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure that is undefined in every resample
        low, high = np.nanpercentile(values, ends, axis=0)
    return low, high
