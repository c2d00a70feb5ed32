"""A row for each model: how many of its configurations were tried, and its best one by validation."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from reports import own
from reports.aggregate import Figures, deviation, frame, leaderboard
from reports.boards import figure_columns, refined
from reports.measures import leading
from reports.run import Config, Run
from reports.shape import model_of
from reports.tables import Column, Sheet, Table

Row = dict[str, Any]


def table(run: Run, known: Figures) -> Table | None:
    """Nothing where there is one model only: the leaderboard says it all."""
    found = rows(run, known)
    if len(found) < 2:
        return None
    columns = [Column("model", "Model", "text"), Column("tried", "Tried", "count"),
               Column("complete", "Complete", "count"), Column("config_id", "Its best", "id"),
               *figure_columns(known, own.refining(run)),
               Column("parameters", "Params", "count")]  # fmt: skip
    note = (
        "Mean ± standard deviation over folds of each model's best configuration by validation score: the "
        "more of a model were tried, the luckier its best. The CSV has the spread over all of them, "
        "aggregate_models.csv errors, intervals and folds."
    )
    return Table("models", "By model", tuple(columns), found, note, wide=True)


def rows(run: Run, known: Figures) -> list[Row]:
    metrics = [m for m in (*leading(known.metrics), *refined(known)) if m in known.at]
    best: dict[str, Row] = {}
    for row in leaderboard(run, known, metrics):
        best.setdefault(model_of(run.by_id[str(row["config_id"])].config), row)
    members: dict[str, list[Config]] = {model: [] for model in best}
    for config in run.configs:
        members[model_of(config.config)].append(config)
    return [_row(model, tried, best[model], known) for model, tried in members.items()]


def sheet(run: Run, known: Figures, confidence: float) -> Sheet:
    """All figures of each model's best configuration, as they stand for configurations in `aggregate`."""
    best = {row["config_id"]: row["model"] for row in rows(run, known) if row["config_id"]}
    whole = frame(known.only(list(best)), confidence)
    models = pa.array([best[config] for config in whole["config_id"].to_pylist()], pa.string())
    return Sheet("aggregate_models", whole.add_column(0, "model", models))


def _row(model: str, tried: Sequence[Config], best: Row, known: Figures) -> Row:
    at = [known.row[c.id] for c in tried if c.complete]
    scores = known.of("validation", "score")[at].mean(axis=1) if at else np.array([math.nan])
    counts = {"model": model, "tried": len(tried), "complete": len(at)}
    over = {"score_over_configurations": float(scores.mean()),
            "score_over_configurations_std": float(deviation(scores))}  # fmt: skip
    shown = {key: value for key, value in best.items() if key not in ("rank", "status", "folds_done")}
    return counts | (shown if at else {"config_id": None}) | over
