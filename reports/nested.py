"""Nested folds: what the whole procedure, choosing included, reaches on cases that it never saw.

Within each outer fold the study's rule chooses by that outer fold's inner folds alone, none of which holds a
case of its test part. The choice is then scored on exactly those cases, by its networks of the *other* outer
folds: there each case is tested by networks that were not trained on it. So neither the choice nor any
network that is scored has seen a case it is scored on, and no network needs to be trained for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.metrics.fold import fold_metrics
from engine.spec.select import Select
from reports.aggregate import deviation, figures
from reports.choose import choose, eligible
from reports.measures import both, label, leading
from reports.run import Run, fold_rows
from reports.tables import Column, Table

Row = dict[str, Any]
LEARNERS = ("tpe", "gp", "cmaes", "nsga2", "motpe")


def rows(run: Run, select: Select) -> list[Row]:
    """A row for each outer fold: its own pick, and that pick's figures on the outer fold's test part."""
    finals = [row for row in run.manifest.get("finals") or () if isinstance(row, Mapping)]
    folds = {row["name"]: row.get("outer") for row in fold_rows(run.manifest)}
    return [_row(run, select, final, folds) for final in finals]


def _row(run: Run, select: Select, final: Mapping[str, Any], folds: Mapping[str, Any]) -> Row:
    outer, held = final.get("outer"), frozenset(final.get("test") or ())
    row: Row = {"outer": str(final.get("name")), "config_id": None, "cases": len(held), "told": ""}
    inner = [name for name, where in folds.items() if where == outer]
    pick = choose(run, eligible(run, figures(run, inner)), select) if inner else None
    if pick is None:
        return row | {"told": "no configuration has all of its inner folds"}
    row["config_id"] = pick.config_id
    others = [name for name, where in folds.items() if where != outer]
    open_folds = [name for name in others if name not in run.by_id[pick.config_id].folds]
    if open_folds:
        return row | {"told": f"its pick did not finish {len(open_folds)} of the {len(others)} other folds"}
    return row | fold_metrics(_held(run, pick.config_id, others, held), run.classes)


def _held(run: Run, config: str, folds: Sequence[str], cases: frozenset[str]) -> pa.Table:
    """The test rows of these cases: each case once per repeat of every other outer fold."""
    wanted = pa.array(sorted(cases), pa.string())
    parts = [run.cases(config, fold, "test") for fold in folds]
    return pa.concat_tables([part.filter(pc.is_in(part["case"], value_set=wanted)) for part in parts])


def estimates(found: Sequence[Row]) -> list[Row]:
    """Mean and spread over outer folds; without one of them the mean would be another quantity."""
    if any(row["told"] for row in found):
        return []
    known = {key for row in found for key in row}
    return [_estimate(metric, found) for metric in both(leading(known), known)]


def _estimate(metric: str, found: Sequence[Row]) -> Row:
    values = np.array([row.get(metric, np.nan) for row in found], dtype=float)
    return {"metric": metric, "label": label(metric), "mean": float(values.mean()),
            "std": float(deviation(values)), "outer_folds": len(values)}  # fmt: skip


def tables(found: Sequence[Row]) -> list[Table]:
    shown = leading({key for row in found for key in row})
    each = (Column("outer", "Outer fold", "word"), Column("config_id", "Its pick", "id"),
            Column("cases", "Cases", "count"), *(Column(m, label(m)) for m in shown),
            Column("told", "Not estimated since", "text"))  # fmt: skip
    mean = (Column("label", "Metric", "text"), Column("mean", "Outer estimate", spread="std"),
            Column("outer_folds", "Outer folds", "count"))  # fmt: skip
    whole = estimates(found)
    drawn = [Table("outer_estimate", "Outer estimate", mean, whole)] if whole else []
    return [*drawn, Table("outer_folds", "Outer folds", each, found, wide=True)]


def told(run: Run, found: Sequence[Row]) -> str:
    text = (
        "Nested folds: within each outer fold a configuration was chosen by its inner folds alone. It was "
        "scored on the outer fold's cases by its networks of the other outer folds, which were not trained "
        "on them. Neither the choice nor a network had seen a case it was scored on, so this needs no "
        "correction."
    )
    search = run.study.get("search")
    sampler = search.get("sampler", "tpe") if isinstance(search, Mapping) else "tpe"
    if sampler in LEARNERS:
        text += (
            f" One thing has seen them: the sampler ({sampler}) proposed configurations after hearing of all "
            "outer folds. With random, grid or qmc nothing has."
        )
    if any(row["told"] for row in found):
        text += (
            " There is no outer estimate here, because not every outer fold's pick was finished in the others"
            " (see the table). With race.rule: none all are."
        )
    return text
