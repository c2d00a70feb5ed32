"""Nested folds: what the whole procedure, choosing included, reaches on cases that it never saw.

When the race is over, what `select.rule` picks by an outer fold's inner folds is trained on what the
outer fold does not test (`engine/finals.py`) and tested there once. A search that was extended may have
picked anew and tested both: what counts is the pick of the inner folds as they are now.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from engine.picking import RULES, outer_rule
from engine.results import FoldResult
from engine.spec.select import Select
from reports.aggregate import deviation, figures
from reports.choose import eligible, evidence_of, metrics_of
from reports.measures import both, label, leading, objectives
from reports.run import Run
from reports.tables import Column, Table

Row = dict[str, Any]
SHOWN = ("dice", "iou", "hd95", "accuracy", "f1_macro", "auc_macro")  # the CSV has all
LEARNERS = ("tpe", "gp", "cmaes", "nsga2", "motpe")


def rows(run: Run, select: Select) -> list[Row]:
    """A row for each outer fold: its pick, and that pick's figures on the outer fold's test part."""
    finals = [row for row in run.manifest.get("finals") or () if isinstance(row, Mapping)]
    return [_row(run, select, str(final.get("name")), len(final.get("test") or ())) for final in finals]


def _row(run: Run, select: Select, name: str, cases: int) -> Row:
    row: Row = {"outer": name, "config_id": None, "cases": cases, "told": ""}
    tested = {result.key: result for result in run.finals if result.fold == name}
    if not tested:
        return row | {"told": "not trained yet"}
    picked = inner_pick(run, select, name)
    if picked and picked not in tested:
        return row | {"config_id": picked, "told": "its pick is not trained yet"}
    final = tested[picked] if picked else max(tested.values(), key=lambda result: inner_mean(run, result))
    row["config_id"] = final.key
    return row | (
        dict(final.test) if final.status == "complete" else {"told": f"its training {final.status}"}
    )


def inner_pick(run: Run, select: Select, outer: str) -> str | None:
    """As the search picked it: by the same rule, over what was complete on these inner folds."""
    known = eligible(run, figures(run, [fold for fold in run.folds if fold.startswith(f"{outer}-")]))
    if not known.configs:
        return None
    evidence = evidence_of(run, known, select, metrics_of(run, select))
    return known.configs[int(RULES[outer_rule(select, objectives(run.study))](evidence))]


def inner_mean(run: Run, final: FoldResult) -> float:
    """What this pick reached on the inner folds of its outer fold."""
    folds = run.by_id[final.key].folds if final.key in run.by_id else {}
    inner = [result.score for name, result in folds.items() if name.startswith(f"{final.fold}-")]
    scores = [score for score in inner if score is not None]
    return fmean(scores) if scores else -np.inf


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
    known = {key for row in found for key in row}
    shown = [metric for metric in SHOWN if metric in known]
    each = (Column("outer", "Outer fold", "word"), Column("config_id", "Its pick", "id"),
            Column("cases", "Cases", "count"), *(Column(m, label(m)) for m in shown))  # fmt: skip
    if any(row["told"] for row in found):
        each += (Column("told", "Not estimated since", "text"),)
    mean = (Column("label", "Metric", "text"), Column("mean", "Outer estimate", spread="std"),
            Column("outer_folds", "Outer folds", "count"))  # fmt: skip
    whole = estimates(found)
    drawn = [Table("outer_estimate", "Outer estimate", mean, whole)] if whole else []
    return [*drawn, Table("outer_folds", "Outer folds", each, found, wide=True)]


def told(run: Run, found: Sequence[Row], select: Select) -> str:
    rule = outer_rule(select, objectives(run.study))
    text = (
        f"Nested folds: within each outer fold, {rule} chose by its inner folds alone; what it chose was "
        "trained on what the outer fold does not test, less the validation part that chose its epoch, and "
        "tested there once. Neither the choice nor the network had seen a case it was tested on, so this "
        "needs no correction."
    )
    if rule != select.rule:
        text += (
            f" The pick above is by {select.rule}, which reads more of a fold than the search knows while it "
            "runs, so the estimate of that rule would differ."
        )
    search = run.study.get("search")
    sampler = search.get("sampler", "tpe") if isinstance(search, Mapping) else "tpe"
    if sampler in LEARNERS:
        text += (
            f" One thing has seen them: the sampler ({sampler}) proposed configurations after hearing of all "
            "outer folds. With random, grid or qmc nothing has."
        )
    if any(row["told"] for row in found):
        text += " There is no outer estimate yet, because an outer fold has not been tested (see the table)."
    return text
