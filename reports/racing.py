"""What the race did: which configuration ran how far on which fold, what was dropped when and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from reports.draw import GRID, INK, SERIES, SOFT, Canvas, Figure, draw
from reports.events import config_of, fold_of, kind_of
from reports.run import Run
from reports.shape import planned
from reports.tables import Column, Table

Row = dict[str, Any]
SHOWN = 60  # configurations in the drawing; the CSV holds all


def cells(run: Run) -> list[Row]:
    """A row for each configuration and fold that was ever begun: epochs run, last score, how it ended."""
    found: dict[tuple[str, str], Row] = {}
    for record in run.journal:
        if kind_of(record) in ("started", "reported", "ended") and record.get("stage", "main") == "main":
            key = (config_of(record), fold_of(record))
            row = found.setdefault(key, {"config_id": key[0], "fold": key[1], "epochs": 0, "status": "begun"})
            _take(row, record)
    for config in run.configs:
        for fold, result in config.folds.items():
            row = found.setdefault((config.id, fold), {"config_id": config.id, "fold": fold})
            row |= {"epochs": result.epochs, "status": result.status, "score": result.score}
    wanted = {c.id: c for c in run.configs}
    return [row | {"planned": planned(wanted[row["config_id"]].config)}
            for row in found.values() if row["config_id"] in wanted]  # fmt: skip


def _take(row: Row, record: Mapping[str, Any]) -> None:
    if kind_of(record) == "reported":
        row["epochs"] = max(int(row["epochs"]), int(record.get("epoch", 0)))
        row["score"] = record.get("score")
    elif kind_of(record) == "ended":
        row["status"] = str(record.get("status", "ended"))


def drops(run: Run) -> list[Row]:
    """Every drop in journal order, with what its configuration had cost by then."""
    spent: dict[str, dict[str, int]] = {}
    rows = []
    for record in run.journal:
        name = config_of(record)
        if kind_of(record) == "reported":
            folds = spent.setdefault(name, {})
            folds[fold_of(record)] = max(folds.get(fold_of(record), 0), int(record.get("epoch", 0)))
        elif kind_of(record) == "dropped":
            folds = spent.get(name, {})
            rows.append({"config_id": name, "after_folds": len(folds), "after_epochs": sum(folds.values()),
                         "outer": record.get("outer"), "audited": bool(record.get("audited")),
                         "reason": str(record.get("reason", ""))})  # fmt: skip
    return rows


def savings(run: Run, begun: Sequence[Row], dropped: Sequence[Row], pick: str | None) -> Row:
    """Epochs spent against training everything, and how often an audited drop would have been the pick."""
    per_fold = {config.id: planned(config.config) for config in run.configs}
    whole = sum(per_fold.values()) * len(run.folds)
    spent = sum(int(row["epochs"]) for row in begun)
    audited = {row["config_id"] for row in dropped if row["audited"]}
    done = [c for c in run.complete if c.id in audited]
    wrong = [c for c in done if c.id == pick]
    low, high = clopper_pearson(len(wrong), len(done))
    return {"epochs_planned": whole, "epochs_spent": spent, "saved": 1 - spent / whole if whole else None,
            "dropped": len({row["config_id"] for row in dropped}), "audited": len(done), "wrong": len(wrong),
            "wrong_low": low, "wrong_high": high}  # fmt: skip


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share; without any trial, all of it."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def sentence(row: Row) -> str:
    if not row["epochs_planned"]:
        return "The journal names no planned epochs, so nothing can be said about savings."
    text = (f"{row['epochs_spent']:,} of {row['epochs_planned']:,} fold-epochs were trained "
            f"({row['saved']:.0%} saved); {row['dropped']} configurations were dropped.")  # fmt: skip
    if row["audited"]:
        text += (
            f" Of {row['audited']} dropped ones that were finished all the same, {row['wrong']} would "
            f"have been picked (95 % exact interval {row['wrong_low']:.1%} to {row['wrong_high']:.1%})."
        )
    elif row["dropped"]:
        text += " None of them was finished as an audit, so the rate of wrong drops was not measured."
    return text


def drop_table(rows: Sequence[Row]) -> Table:
    columns = (Column("config_id", "Configuration", "id"), Column("after_folds", "Folds begun", "count"),
               Column("after_epochs", "Epochs spent", "count"), Column("audited", "Audited", "text"),
               Column("reason", "Reason", "text"))  # fmt: skip
    return Table("drops", "Dropped configurations", columns, rows, filters=len(rows) > 12)


def figure(run: Run, begun: Sequence[Row], pick: str | None) -> Figure:
    shown = _rows_shown(run, pick)
    at = {config: number for number, config in enumerate(shown)}
    folds = {fold: number for number, fold in enumerate(run.folds)}

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        axis.grid(False)
        for y in range(len(shown)):
            axis.broken_barh([(x, 0.92) for x in range(len(folds))], (y - 0.31, 0.62), color=GRID, alpha=0.5)
        for row in begun:
            if row["config_id"] in at and row["fold"] in folds:
                kind = "dropped" if run.by_id[row["config_id"]].status == "dropped" else str(row["status"])
                _bar(axis, folds[row["fold"]], at[row["config_id"]], row, kind)
        axis.set(xlim=(-0.05, len(folds)), ylim=(len(shown) - 0.4, -0.6))
        axis.set_xticks([n + 0.46 for n in range(len(folds))], list(folds), fontsize=8)
        axis.set_yticks(range(len(shown)), shown, fontsize=7.5, family="monospace")
        for label in axis.get_yticklabels():
            label.set_color(SERIES[2] if label.get_text() == pick else SOFT)
        axis.tick_params(length=0)
        axis.spines[["left", "bottom"]].set_visible(False)
        _legend(axis)

    note = f"Each bar is a fold; its length the share of the planned epochs that ran. {len(shown)} of "
    note += (
        f"{len(run.configs)} configurations, the pick first."
        if pick
        else f"{len(run.configs)} configurations."
    )
    width = min(9.2, 2.4 + 1.1 * len(folds))
    return draw(
        "race", "The race: configurations by folds", ("race",), paint, width, 0.9 + 0.2 * len(shown), note
    )


COLOURS = {
    "complete": SERIES[0],
    "dropped": SERIES[1],
    "stopped": SERIES[1],
    "failed": "#b3261e",
    "diverged": "#b3261e",
}


def _bar(axis: Any, fold: int, at: int, row: Row, kind: str) -> None:
    share = min(1.0, row["epochs"] / row["planned"]) if row["planned"] else 1.0
    colour = COLOURS.get(kind, SERIES[5])
    axis.barh(at, 0.92 * share, left=fold, height=0.62, color=colour, linewidth=0)


def _legend(axis: Any) -> None:
    from matplotlib.patches import Patch

    names = {
        "complete": SERIES[0],
        "dropped": SERIES[1],
        "failed or diverged": "#b3261e",
        "other": SERIES[5],
    }
    handles = [Patch(facecolor=colour, label=name) for name, colour in names.items()]
    axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, labelcolor=INK)


def _rows_shown(run: Run, pick: str | None) -> list[str]:
    def key(config: Any) -> tuple[bool, float]:
        scores = [r.score for r in config.folds.values() if r.score is not None]
        return (config.id != pick, -float(np.mean(scores)) if scores and config.complete else 1.0)

    return [config.id for config in sorted(run.configs, key=key)][:SHOWN]
