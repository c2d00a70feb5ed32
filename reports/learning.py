"""Learning curves: every loss term and metric by epoch, mean and spread over folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.ticker import MaxNLocator

from engine.results import EPOCH_COLUMNS
from engine.words import plural
from reports.draw import SERIES, Canvas, Figure, draw
from reports.measures import label
from reports.run import Config, Run
from reports.tables import Column, Table

SHOWN = ("dice", "iou", "hd95", "accuracy", "balanced_accuracy", "f1_macro", "auc_macro")
OF_MASKS = ("dice", "iou", "hd95")  # which a second stage does not change
WHOLE = {"lr": "Learning rate", "score": "Validation score"}
FIXED = {*EPOCH_COLUMNS, "network"} - {"score", "lr"}


def frame(run: Run, configs: Sequence[Config]) -> list[dict[str, Any]]:
    """One row for each configuration, stage, column and epoch. Folds may end at different epochs."""
    rows: list[dict[str, Any]] = []
    for config in configs:
        rows += curves(config.id, [run.epochs(config.id, fold) for fold in config.folds])
    return rows


def curves(key: str, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
    """Of what was trained under this key; a table for each of its folds."""
    rows: list[dict[str, Any]] = []
    for stage, parts in _by_stage(tables).items():
        names = [n for n in parts[0].column_names if n not in FIXED and _is_number(parts[0], n)]
        for name in names:
            rows += _curve(key, stage, name, parts)
    return rows


def _by_stage(tables: Sequence[pa.Table]) -> dict[str, list[pa.Table]]:
    found: dict[str, list[pa.Table]] = {}
    for table in tables:
        stages = np.array(table["stage"].to_pylist() if "stage" in table.column_names else [], dtype=object)
        for stage in dict.fromkeys(stages.tolist()):
            found.setdefault(str(stage), []).append(table.filter(pa.array(stages == stage)))
    return found


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _curve(config: str, stage: str, name: str, parts: Sequence[pa.Table]) -> list[dict[str, Any]]:
    curves = [(p["epoch"].to_numpy(), p[name].to_numpy()) for p in parts if name in p.column_names]
    epochs = np.unique(np.concatenate([epoch for epoch, _ in curves]))
    grid = np.full((len(curves), len(epochs)), np.nan)
    for row, (epoch, values) in zip(grid, curves, strict=True):
        row[np.searchsorted(epochs, epoch)] = values
    counts = np.isfinite(grid).sum(axis=0)
    safe = np.where(np.isfinite(grid), grid, 0.0)
    mean = np.divide(safe.sum(axis=0), counts, out=np.full(len(epochs), np.nan), where=counts > 0)
    squares = np.where(np.isfinite(grid), (grid - mean) ** 2, 0.0).sum(axis=0)
    std = np.sqrt(np.divide(squares, counts - 1, out=np.full(len(epochs), np.nan), where=counts > 1))
    return [
        {"config_id": config, "stage": stage, "column": name, "epoch": int(e), "mean": float(m),
         "std": float(s), "folds": int(n)}
        for e, m, s, n in zip(epochs, mean, std, counts, strict=True)
    ]  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]], name: str = "curves") -> Table:
    columns = (Column("config_id", "Configuration", "id"), Column("column", "Curve", "word"),
               Column("epoch", "Epoch", "count"), Column("mean", "Mean", spread="std"),
               Column("folds", "Folds", "count"))  # fmt: skip
    return Table(name, "Learning curves", columns, rows)


def figures(
    rows: Sequence[Mapping[str, Any]], config: str, name: str = "learning", table: str = "curves"
) -> list[Figure]:
    """`table` holds their numbers."""
    own = [r for r in rows if r["config_id"] == config and drawn(str(r["column"]), r["stage"])]
    stages = list(dict.fromkeys(r["stage"] for r in own))
    return [
        _panels([r for r in own if r["stage"] == stage], config, stage, f"{name}-{number}", table)
        for number, stage in enumerate(stages)
    ]


def drawn(column: str, stage: str) -> bool:
    """Losses, the score and the leading metrics; the CSV holds the hundred others."""
    part, _, name = column.partition("_")
    moves = name in SHOWN and not (stage == "classify" and name in OF_MASKS)
    return column in WHOLE or term(column) is not None or (part == "validation" and moves)


def term(column: str) -> str | None:
    """Of a column `train_<term>` or `validation_<term>_loss`: which part of the loss it is."""
    part, _, name = column.partition("_")
    if part == "train":
        return name
    return name.removesuffix("_loss") if part == "validation" and name.endswith("_loss") else None


def _panels(rows: Sequence[Mapping[str, Any]], config: str, stage: str, name: str, table: str) -> Figure:
    groups = _groups(list(dict.fromkeys(str(r["column"]) for r in rows)))
    across = min(3, len(groups))
    down = -(-len(groups) // across)

    def paint(sheet: Canvas) -> None:
        axes = np.atleast_1d(sheet.subplots(down, across, squeeze=False)).ravel()
        for axis, (title, columns) in zip(axes, groups.items(), strict=False):
            for colour, column in zip(SERIES, columns, strict=False):
                _band(axis, [r for r in rows if r["column"] == column], colour, column.partition("_")[0])
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
            axis.yaxis.set_major_locator(MaxNLocator(nbins=4))
            axis.set_title(title)
            axis.set_xlabel("epoch")
            if len(columns) > 1:
                axis.legend(loc="best")
        for axis in axes[len(groups) :]:
            axis.set_visible(False)

    title = f"Learning curves of {config}" + ("" if stage == "main" else f", stage {stage}")
    folds = max(int(r["folds"]) for r in rows)
    note = f"The score and metrics are of validation. Mean over {plural(folds, 'fold')}; the band is ± std."
    return draw(name, title, (table,), paint, 9.2, 2.35 * down + 0.1, note)


def _groups(columns: Sequence[str]) -> dict[str, list[str]]:
    """Training and validation of the same quantity share a panel."""
    found: dict[str, list[str]] = {}
    for column in sorted(columns, key=lambda name: name == "lr"):
        name = term(column)
        title = f"Loss, {name.replace('_', ' ')}" if name else label(column.removeprefix("validation_"))
        found.setdefault(WHOLE.get(column, title), []).append(column)
    return found


def _band(axis: Any, rows: Sequence[Mapping[str, Any]], colour: str, name: str) -> None:
    epochs = np.array([r["epoch"] for r in rows])
    mean = np.array([r["mean"] for r in rows])
    std = np.nan_to_num([r["std"] for r in rows])
    axis.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.16, linewidth=0)
    axis.plot(epochs, mean, color=colour, label=name, marker="o" if len(epochs) == 1 else None)
