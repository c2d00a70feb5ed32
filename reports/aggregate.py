"""Folds into mean ± std. A configuration has figures only when all of its folds ended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from engine.picking import corrected_error, t_quantile
from engine.results import FoldResult
from reports.run import SPLITS, Run


@dataclass(frozen=True)
class Figures:
    """Every fold figure of the complete configurations: values[split] is [configs, folds, metrics]."""

    configs: tuple[str, ...]
    folds: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    ratio: Mapping[str, float]  # held-out cases for each training case, by split

    @cached_property
    def at(self) -> dict[str, int]:
        return {metric: number for number, metric in enumerate(self.metrics)}

    @cached_property
    def row(self) -> dict[str, int]:
        return {config: number for number, config in enumerate(self.configs)}

    def of(self, split: str, metric: str) -> np.ndarray:
        """[configs, folds]"""
        return np.asarray(self.values[split][:, :, self.at[metric]])

    def only(self, configs: Sequence[str]) -> "Figures":
        at = [self.row[config] for config in configs]
        return replace(self, configs=tuple(configs), values={s: v[at] for s, v in self.values.items()})


def figures(run: Run, among: Sequence[str] | None = None) -> Figures:
    """Of the configurations that have all of these folds: all of the run's, unless others are given."""
    folds = run.folds if among is None else tuple(among)
    entries = run.complete if among is None else [c for c in run.configs if c.folds.keys() >= set(folds)]
    rows = [[config.folds[fold] for fold in folds] for config in entries]
    names = sorted({m for row in rows for r in row for m in (*r.validation, *r.test)} | {"score"})
    values = {split: _cube(rows, split, names, len(folds)) for split in SPLITS}
    return Figures(tuple(c.id for c in entries), folds, tuple(names), values, ratios(run))


def _cube(rows: Sequence[Sequence[FoldResult]], split: str, names: Sequence[str], folds: int) -> np.ndarray:
    cube = np.full((len(rows), folds, len(names)), np.nan)
    for c, row in enumerate(rows):
        for f, result in enumerate(row):
            known = {"score": result.score if split == "validation" else None} | dict(getattr(result, split))
            cube[c, f] = [known.get(name) for name in names]  # None becomes NaN
    return cube


def ratios(run: Run) -> dict[str, float]:
    """n_test/n_train of the true training parts, which the corrected variance of a mean needs."""
    sizes = [s for s in run.sizes().values() if s["train"]] or _sizes_trained(run)
    if not sizes:
        return dict.fromkeys(SPLITS, math.nan)
    train = sum(s["train"] for s in sizes)
    return {split: sum(s[split] for s in sizes) / train for split in SPLITS}


def _sizes_trained(run: Run) -> list[dict[str, int]]:
    """What a lost folds.json held, as the results have it; one configuration has all folds."""
    return [
        {"train": result.train_cases}
        | {split: len(run.cases(config.id, fold, split, ["case"])) for split in SPLITS}
        for config in run.complete[:1]
        for fold, result in config.folds.items()
        if result.train_cases
    ]


def summarise(values: np.ndarray, ratio: float, confidence: float) -> dict[str, np.ndarray]:
    """Over the last axis: mean, std (ddof 1), plain and corrected error, t interval, range, count.

    One undefined fold leaves the mean undefined: an average over fewer folds is another quantity.
    """
    n = np.isfinite(values).sum(axis=-1)
    whole = n == values.shape[-1]
    mean = np.where(whole, values.mean(axis=-1), np.nan)
    std = deviation(values)
    error = corrected_error(std, n, ratio)
    with np.errstate(invalid="ignore"):
        reach = t_quantile(np.maximum(n - 1, 1), confidence) * error
    return {
        "mean": mean, "std": std, "se": corrected_error(std, n, 0.0), "se_corrected": error,
        "low": mean - reach, "high": mean + reach,
        "min": values.min(axis=-1), "max": values.max(axis=-1), "n": n,
    }  # fmt: skip


def deviation(values: np.ndarray) -> np.ndarray:
    """Over the last axis, ddof 1; of one value it is undefined."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.std(axis=-1, ddof=1))


def frame(known: Figures, confidence: float = 0.95) -> pa.Table:
    """One row for each configuration, split and metric."""
    parts = [_part(known, split, confidence) for split in SPLITS if known.configs]
    return pa.concat_tables(parts) if parts else pa.table({"config_id": pa.array([], pa.string())})


def _part(known: Figures, split: str, confidence: float) -> pa.Table:
    values = known.values[split].transpose(0, 2, 1)  # [configs, metrics, folds]
    configs, metrics, _ = values.shape
    summary = summarise(values, known.ratio[split], confidence)
    columns: dict[str, object] = {
        "config_id": np.repeat(known.configs, metrics),
        "split": [split] * (configs * metrics),
        "metric": np.tile(known.metrics, configs),
    }
    columns |= {name: column.ravel() for name, column in summary.items()}
    columns |= {fold: values[:, :, f].ravel() for f, fold in enumerate(known.folds)}
    table = pa.table(columns)
    there = np.isfinite(values).any(axis=-1).ravel()
    return table.filter(pa.array(there))


def leaderboard(run: Run, known: Figures, metrics: Sequence[str]) -> list[dict[str, object]]:
    """Every configuration, the complete ones by validation score, the others below."""
    ranks = ranking(known)
    rows = [
        {"rank": ranks.get(config.id)} | _board_row(run, known, config.id, known.row.get(config.id), metrics)
        for config in run.configs
    ]
    return sorted(rows, key=lambda row: ranks.get(str(row["config_id"]), len(rows) + 1))


def ranking(known: Figures) -> dict[str, int]:
    scores = known.of("validation", "score").mean(axis=1) if known.configs else np.array([])
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    return {known.configs[c]: rank for rank, c in enumerate(order, 1)}


def _board_row(
    run: Run, known: Figures, config: str, place: int | None, metrics: Sequence[str]
) -> dict[str, object]:
    entry = run.by_id[config]
    results = list(entry.folds.values())
    row: dict[str, object] = {
        "config_id": config,
        "status": entry.status,
        "folds_done": len(entry.folds),
        "parameters": max((r.parameters for r in results), default=None),
        "flops": max((r.flops for r in results), default=None),
        "seconds": sum(r.seconds for r in results),
    }
    for split in SPLITS:
        for metric in metrics:
            values = None if place is None else known.values[split][place, :, known.at[metric]]
            row[f"{split}_{metric}_mean"] = _finite(values.mean()) if values is not None else None
            row[f"{split}_{metric}_std"] = _finite(deviation(values)) if values is not None else None
    return row


def _finite(value: np.ndarray | float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
