"""What the race did: which configuration ran how far on which fold, what was dropped when and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from engine.words import plural
from reports.draw import GRID, INK, SERIES, SOFT, Canvas, Figure, draw
from reports.events import config_of, fold_of, kind_of
from reports.run import Run
from reports.shape import planned
from reports.tables import Column, Table

Row = dict[str, Any]
SHOWN = 60  # configurations in the drawing; the CSV holds all


def cells(run: Run) -> list[Row]:
    """A row for each configuration and fold that was ever begun: epochs run, last score, how it ended, and in
    how many stretches it was trained (a frozen fold is taken up again)."""
    found: dict[tuple[str, str], Row] = {}
    whole = {config_of(r): int(r.get("epochs", 0)) for r in run.journal if kind_of(r) == "opened"}
    for record in run.journal:
        key = (config_of(record), fold_of(record))
        raced = key[1] in run.folds  # outer folds are trained after the race
        if raced and kind_of(record) in ("started", "reported", "ended"):
            _take(found.setdefault(key, _cell(*key)), record)
    for config in run.configs:
        for fold, result in config.folds.items():
            row = found.setdefault((config.id, fold), _cell(config.id, fold))
            row |= {"epochs": result.epochs, "status": result.status, "score": result.score}
    known = {c.id: whole.get(c.id) or planned(c.config) for c in run.configs}
    return [row | {"planned": known[row["config_id"]]} for row in found.values() if row["config_id"] in known]


def _cell(config: str, fold: str) -> Row:
    return {"config_id": config, "fold": fold, "epochs": 0, "status": "begun", "stretches": 0}


def _take(row: Row, record: Mapping[str, Any]) -> None:
    if kind_of(record) == "started":
        row["stretches"] += 1
    elif kind_of(record) == "reported":
        row["epochs"] = max(int(row["epochs"]), int(record.get("epoch", 0)))
        row["score"] = record.get("score")
    else:
        row["status"] = str(record.get("status", "ended"))


def drops(run: Run) -> list[Row]:
    """Every drop in journal order: when, in epochs of the study, and what its configuration had cost."""
    spent: dict[str, dict[str, int]] = {}
    rows, epochs = [], 0
    for record in run.journal:
        name = config_of(record)
        if kind_of(record) == "reported":
            folds, epoch = spent.setdefault(name, {}), int(record.get("epoch", 0))
            epochs += max(0, epoch - folds.get(fold_of(record), 0))
            folds[fold_of(record)] = max(folds.get(fold_of(record), 0), epoch)
        elif kind_of(record) == "dropped":
            folds = spent.get(name, {})
            rows.append({"config_id": name, "at_epoch": epochs, "after_folds": len(folds),
                         "after_epochs": sum(folds.values()), "outer": record.get("outer"),
                         "audited": bool(record.get("audited")),
                         "reason": str(record.get("reason", ""))})  # fmt: skip
    return rows


def savings(run: Run, begun: Sequence[Row], dropped: Sequence[Row], pick: str | None) -> Row:
    """Epochs spent against training everything, and how often an audited drop would have been the pick."""
    per_fold = {config.id: planned(config.config) for config in run.configs}
    per_fold |= {row["config_id"]: row["planned"] for row in begun}
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
            f"({row['saved']:.0%} saved); {plural(row['dropped'], 'configuration')} "
            f"{'was' if row['dropped'] == 1 else 'were'} dropped.")  # fmt: skip
    if row["audited"]:
        text += (
            f" Of {row['audited']} dropped and finished all the same, {row['wrong']} would "
            f"have been picked (95 % exact interval {row['wrong_low']:.1%} to {row['wrong_high']:.1%})."
        )
    elif row["dropped"]:
        text += " None of them was finished as an audit, so the rate of wrong drops was not measured."
    return text


def drop_table(rows: Sequence[Row]) -> Table:
    nested = [Column("outer", "Outer fold", "word")] if any(row["outer"] for row in rows) else []
    columns = (Column("config_id", "Configuration", "id"), *nested,
               Column("at_epoch", "At study epoch", "count"), Column("after_folds", "Folds begun", "count"),
               Column("after_epochs", "Epochs spent", "count"), Column("audited", "Audited", "word"),
               Column("reason", "Reason", "text"))  # fmt: skip
    note = "At study epoch: how many fold-epochs the whole search had trained by then."
    return Table("drops", "Dropped configurations", columns, rows, note, filters=len(rows) > 12)


def figure(run: Run, begun: Sequence[Row], pick: str | None) -> Figure:
    shown = _rows_shown(run, pick)
    who = f"{len(shown)} of {plural(len(run.configs), 'configuration')}" + (
        ", the pick first." if pick else "."
    )

    def paint(sheet: Canvas) -> None:
        _paint(sheet, run, begun, shown, pick)

    return draw(
        "race", "The race: configurations by folds", ("race",), paint,
        min(9.2, 2.4 + 1.1 * len(run.folds)), 0.9 + 0.2 * len(shown),
        f"Each bar is a fold; its length the share of the planned epochs that ran. {who}",
    )  # fmt: skip


def _paint(sheet: Canvas, run: Run, begun: Sequence[Row], shown: Sequence[str], pick: str | None) -> None:
    axis, folds = sheet.subplots(), {fold: number for number, fold in enumerate(run.folds)}
    axis.grid(False)
    _bars(axis, [(x, y, 1.0) for y in range(len(shown)) for x in range(len(folds))], GRID, 0.5)
    at = {config: number for number, config in enumerate(shown)}
    for name, colour in OUTCOMES.items():
        rows = [r for r in begun if outcome(run, r) == name and r["config_id"] in at and r["fold"] in folds]
        _bars(axis, [(folds[r["fold"]], at[r["config_id"]], _share(r)) for r in rows], colour, 1.0)
    axis.set(xlim=(-0.05, len(folds)), ylim=(len(shown) - 0.4, -0.6))
    axis.set_xticks([n + 0.46 for n in range(len(folds))], list(folds), fontsize=8)
    axis.set_yticks(range(len(shown)), shown, fontsize=7.5, family="monospace")
    for label in axis.get_yticklabels():
        label.set_color(SERIES[2] if label.get_text() == pick else SOFT)
    axis.tick_params(length=0)
    axis.spines[["left", "bottom"]].set_visible(False)
    _legend(axis)


OUTCOMES = {
    "complete": SERIES[0],
    "dropped": SERIES[1],
    "failed or diverged": "#b3261e",
    "unfinished": SERIES[5],
}


def outcome(run: Run, row: Row) -> str:
    """What became of a fold; all folds of a dropped configuration show as dropped."""
    if row["status"] in ("failed", "diverged"):
        return "failed or diverged"
    if run.by_id[row["config_id"]].status == "dropped" or row["status"] == "stopped":
        return "dropped"
    return "complete" if row["status"] == "complete" else "unfinished"


def _share(row: Row) -> float:
    return min(1.0, row["epochs"] / row["planned"]) if row["planned"] else 1.0


def _bars(axis: Any, places: Sequence[tuple[int, int, float]], colour: str, alpha: float) -> None:
    """All bars of a colour as one collection: a drawing of a thousand bars is slow."""
    from matplotlib.collections import PolyCollection

    corners = [[(x, y - 0.31), (x + 0.92 * w, y - 0.31), (x + 0.92 * w, y + 0.31), (x, y + 0.31)]
               for x, y, w in places]  # fmt: skip
    axis.add_collection(PolyCollection(corners, facecolors=colour, alpha=alpha, linewidths=0))


def _legend(axis: Any) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, label=name) for name, colour in OUTCOMES.items()]
    axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, labelcolor=INK)


def _rows_shown(run: Run, pick: str | None) -> list[str]:
    def key(config: Any) -> tuple[bool, float]:
        scores = [r.score for r in config.folds.values() if r.score is not None]
        return (config.id != pick, -float(np.mean(scores)) if scores and config.complete else 1.0)

    return [config.id for config in sorted(run.configs, key=key)][:SHOWN]
