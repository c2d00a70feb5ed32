"""Published figures beside ours, and how far the two may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from engine.errors import SonotuneError
from engine.spec import text
from reports.aggregate import Figures, ranking
from reports.boards import better
from reports.measures import label
from reports.run import Run
from reports.shape import models_of
from reports.tables import Column, Table

SAME = "same data and folds"
SAME_DATA = "same data"
ONE_SPLIT = "one split, pooled"
NOT = "not comparable"
MEANING = (
    f"“{SAME}”: the same cases and as many folds, though no paper prints which case lies where; "
    f"“{SAME_DATA}”: other folds; “{ONE_SPLIT}”: the paper's figures are of one held-out part, over pooled "
    "pixels; distances in pixels hang on the image size as well; "
    f"“{NOT}”: other cases, or a part held out once."
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Printed:
    """One table of a paper, in the paper's units: `scales` turn them into ours."""

    key: str
    paper: str
    title: str
    data: Mapping[str, Any]
    protocol: str
    folds: int | None
    size: int | None
    metrics: tuple[str, ...]
    scales: tuple[float, ...]
    rows: tuple[Mapping[str, Any], ...]  # name, model, values: (mean, deviation) or None; refined or raw
    note: str


@cache
def published() -> dict[str, Printed]:
    raw = (resources.files("reports") / "published.yaml").read_text(encoding="utf-8")
    document = text.mapping(raw, "published.yaml")
    return {key: _printed(key, table, document) for key, table in document["tables"].items()}


def _printed(key: str, table: Mapping[str, Any], document: Mapping[str, Any]) -> Printed:
    metrics, scale = tuple(table["metrics"]), table["scale"]
    scales = tuple(scale if isinstance(scale, list) else [scale] * len(metrics))
    rows = [row | {"values": [_pair(value) for value in row["values"]]} for row in table["rows"]]
    return Printed(
        key, document["papers"][key.split(".")[0]]["title"], table["title"],
        document["data_sets"][table["data"]], table["protocol"], table.get("folds"), table.get("size"),
        metrics, scales, tuple(rows), table.get("note", ""),
    )  # fmt: skip


Value = tuple[float, float | None]


def _pair(value: Any) -> Value | None:
    if value is None:
        return None
    mean, std = value if isinstance(value, list) else (value, None)
    return mean, std


def find(key: str) -> Printed:
    if key not in published():
        raise SonotuneError(f"there is no published table {key!r}; there are {', '.join(published())}")
    return published()[key]


def mark(table: Printed, run: Run) -> str:
    data = run.study.get("data")
    source = data.get("source") if isinstance(data, Mapping) else None
    if source != table.data["source"] or cases(run) != table.data["cases"] or table.protocol == "hold_out":
        return NOT
    if table.protocol == "one_split":
        return ONE_SPLIT
    return SAME if per_repeat(run) == table.folds else SAME_DATA


def cases(run: Run) -> int:
    rows = run.manifest.get("folds") or ()
    return len({case for row in rows for case in row.get("test") or ()})


def per_repeat(run: Run) -> int:
    rows = run.manifest.get("folds") or ()
    return sum(1 for row in rows if row.get("repeat", 0) == 0 and row.get("outer") is None)


def best_of(run: Run, known: Figures, model: str | None) -> str | None:
    """Our configuration of that model, be it one of two stages, with the best validation score."""
    ranks = ranking(known)
    own = [c for c in known.configs if model in models_of(run.by_id[c].config)]
    return min(own, key=lambda c: ranks[c]) if own else None


def frame(table: Printed, run: Run, known: Figures) -> list[Row]:
    """Printed rows, each followed by ours where the run has that model, all in the paper's units."""
    marking, rows = mark(table, run), []
    for printed in table.rows:
        who = {"table": table.key, "method": printed["name"], "comparable": marking}
        rows.append(who | {"whose": "printed"} | _cells(table.metrics, printed["values"]))
        mine = best_of(run, known, printed.get("model"))
        prefix = "refined_" if printed.get("refined") else ""
        names = [prefix + metric for metric in table.metrics]
        measured = zip(names, table.scales, strict=True)
        values = [_ours(run, known, mine, *one) for one in measured] if mine else []
        if any(values):
            method = f"ours, {mine}{', refined' if prefix else ''}"
            rows.append(who | {"whose": mine, "method": method} | _cells(table.metrics, values))
    return rows


def _cells(metrics: Sequence[str], values: Sequence[Value | None]) -> Row:
    found: Row = {}
    for metric, value in zip(metrics, values, strict=True):
        found[metric], found[f"{metric}_std"] = value if value else (None, None)
    return found


def _ours(run: Run, known: Figures, config: str, metric: str, scale: float) -> Value | None:
    plain = metric.removeprefix("refined_")
    if plain in ("flops", "parameters"):
        return max(getattr(r, plain) for r in run.by_id[config].folds.values()) / scale, None
    if metric not in known.at:
        return None
    values = known.values["test"][known.row[config], :, known.at[metric]] / scale
    if not np.isfinite(values).all():
        return None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def why(table: Printed, run: Run) -> str:
    """What keeps a table and this run apart."""
    if mark(table, run) != NOT:
        return ""
    data = run.study.get("data")
    source = data.get("source") if isinstance(data, Mapping) else None
    if source != table.data["source"]:
        return f" (this run's data is {source or 'not known'})"
    if cases(run) != table.data["cases"]:
        return f" (this run has {cases(run)} cases, the paper {table.data['cases']})"
    return " (the paper's figures are of a part held out once)"


def paper_table(table: Printed, rows: Sequence[Row], run: Run) -> Table:
    """What cannot be compared is not ranked together: the best is then the best printed one."""
    columns = [Column("method", "Method", "text")]
    columns += [Column(m, f"{label(m)}{UNITS.get(s, '')}", "number", f"{m}_std", better=better(m),
                       digits=3 if s == 1 and m not in DISTANCES else 2)
                for m, s in zip(table.metrics, table.scales, strict=True)]  # fmt: skip
    folds = f"{table.folds} folds" if table.folds else "one held-out part"
    size = f"{table.size}×{table.size}" if table.size else "size not said"
    title = f"{table.key}: {table.title} ({table.paper}; {table.data['title']}, {folds}, {size})"
    note = f"{rows[0]['comparable'].capitalize()}{why(table, run)}. {table.note}".strip()
    ours = frozenset(n for n, row in enumerate(rows) if row["whose"] != "printed")
    name = f"published_{table.key.replace('.', '_')}"
    unranked = ours if rows[0]["comparable"] in (NOT, ONE_SPLIT) else frozenset()
    return Table(name, title, tuple(columns), rows, note, wide=True, unranked=unranked)


UNITS = {0.01: ", %", 1e9: ", G", 1e6: ", M"}
DISTANCES = ("hd95", "asd")


def relevant(run: Run, known: Figures) -> list[Printed]:
    """Tables with a model of this run, or of its data; all others only fill the page."""
    models = {name for c in known.configs for name in models_of(run.by_id[c].config)}
    return [table for table in published().values()
            if mark(table, run) != NOT or models & {row.get("model") for row in table.rows}]  # fmt: skip
