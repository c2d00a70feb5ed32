"""Nested folds: each outer fold's pick, trained anew without that fold and tested on it alone.

Inside, the best mean score picks. A search that was extended may have picked anew and tested both: what
counts is the pick of the inner folds as they are now.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from engine.results import FoldResult
from reports.load import Run
from reports.measures import label, leading
from reports.tables import Column, Table

Row = dict[str, Any]


def rows(run: Run) -> list[Row]:
    """One row for each outer fold that was tested."""
    latest: dict[str, FoldResult] = {}
    for result in sorted(run.finals, key=lambda r: (r.fold, inner_mean(run, r))):
        latest[result.fold] = result
    return [{"outer": r.fold, "config_id": r.key, "status": r.status} | dict(r.test) for r in latest.values()]


def inner_mean(run: Run, final: FoldResult) -> float:
    """What this pick reached on the inner folds of its outer fold."""
    folds = run.by_id[final.key].folds if final.key in run.by_id else {}
    scores = [
        r.score for name, r in folds.items() if name.startswith(f"{final.fold}-") and r.score is not None
    ]
    return fmean(scores) if scores else -np.inf


def estimates(found: Sequence[Row]) -> list[Row]:
    """Mean and spread over outer folds: what the whole procedure, choosing included, reaches on new cases."""
    done = [row for row in found if row["status"] == "complete"]
    names = leading({key for row in done for key in row})
    return [_estimate(metric, [row.get(metric) for row in done]) for metric in names]


def _estimate(metric: str, given: Sequence[float | None]) -> Row:
    values = np.array([np.nan if v is None else v for v in given], dtype=float)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"metric": metric, "label": label(metric), "mean": float(values.mean()), "std": std,
            "outer_folds": len(values)}  # fmt: skip


def tables(run: Run) -> list[Table]:
    found = rows(run)
    shown = leading({key for row in found for key in row})
    each = (Column("outer", "Outer fold", "text"), Column("config_id", "Its pick", "id"),
            *(Column(m, label(m)) for m in shown))  # fmt: skip
    mean = (Column("label", "Metric", "text"), Column("mean", "Outer estimate", spread="std"),
            Column("outer_folds", "Outer folds", "count"))  # fmt: skip
    return [Table("outer_estimate", "Outer estimate", mean, estimates(found)),
            Table("outer_folds", "Outer folds", each, found, wide=True)]  # fmt: skip
