"""The tables that every report has: leaderboard, fold by fold, per class, what is missing."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from engine.words import plural
from reports import own
from reports.aggregate import Figures, leaderboard, summarise
from reports.configs import switches
from reports.measures import DIGITS, DISTANCES, both, higher_is_better, inside, label, leading
from reports.run import SPLITS, Config, Problem, Run
from reports.shape import model_of, on_true_masks
from reports.tables import Column, Table

BOARD = {"validation": ("score",), "test": ("dice", "hd95", "accuracy", "f1_macro")}
FOLD_METRICS = ("score", "dice", "accuracy", "f1_macro")
CLASS_SHOWN = ("precision", "sensitivity", "specificity", "f1", "auc", "dice", "hd95")  # the CSV has all
CLASS_METRICS = ("precision", "sensitivity", "specificity", "f1", "auc", "dice", "iou", "hd95")
OUTLIER = 3.0
BOTH = " HD95: over the cases in which truth and prediction both have a lesion, few for who draws few."
DRAWN = f"{BOTH} {DISTANCES}"


def better(metric: str) -> Literal["high", "low"]:
    return "high" if higher_is_better(metric) else "low"


def board_table(run: Run, known: Figures) -> Table:
    metrics = [m for m in (*leading(known.metrics), *refined(known)) if m in known.at]
    figures = figure_columns(known, own.refining(run))
    several = len({config.run for config in run.configs}) > 1
    columns = [Column("rank", "#", "count"), Column("config_id", "Configuration", "id")]
    columns += [Column("run", "Run", "text")] if several else []
    named, switched = [Column("model", "Model", "text")], switches(run)
    named += [Column("switches", "Differs by", "text")] if switched else []
    first = bool(switched) or len({model_of(config.config) for config in run.configs}) > 1
    columns += [*named, *figures] if first else [*figures, *named]
    columns += [Column("parameters", "Params", "count"), Column("folds_done", "Folds", "count"),
                Column("status", "Status", "status")]  # fmt: skip
    rows = [row | _named(run.by_id[str(row["config_id"])]) for row in leaderboard(run, known, metrics)]
    if switched:
        rows = [row | {"switches": switched.get(str(row["config_id"]))} for row in rows]
    note = "Mean ± standard deviation (ddof 1) over folds. A configuration has figures once all folds ended."
    note += DRAWN if "hd95" in known.at else ""
    return Table("leaderboard", "All configurations", tuple(columns), rows, note, wide=True, filters=True)


def figure_columns(known: Figures, refining: frozenset[str]) -> list[Column]:
    """The figures that lead a table of configurations."""
    return [
        Column(f"{split}_{m}_mean", f"{split.capitalize()} {inside(m)}", spread=f"{split}_{m}_std",
               better=better(m), digits=2 if m.endswith("hd95") else 3)
        for split, shown in BOARD.items() for plain in shown if plain in known.at
        for m in standing_for(plain, known, refining)
    ]  # fmt: skip


def standing_for(metric: str, known: Figures, refining: frozenset[str]) -> tuple[str, ...]:
    """The figure of raw or of refined predictions; both where configurations differ in which one counts."""
    names = (own.name(known, config, metric, refining) for config in known.configs)
    return tuple(dict.fromkeys(names)) or (metric,)


def _named(config: Config) -> dict[str, Any]:
    mark = " (true masks)" if on_true_masks(config.config) else ""
    return {"model": model_of(config.config) + mark, "run": config.run}


def refined(known: Figures) -> list[str]:
    return [name for m in BOARD["test"] if (name := f"refined_{m}") in known.at]


def fold_table(run: Run, known: Figures) -> Table:
    """Every fold of every complete configuration; beyond 3σ of its own configuration's others is marked. The
    page shows the figures that the score beside them is made of, the CSV raw and refined ones."""
    metrics = both([m for m in FOLD_METRICS if m in known.at], known.at)
    refining = own.refining(run)
    counting = {
        m for plain in FOLD_METRICS if plain in known.at for m in standing_for(plain, known, refining)
    }
    apart = {(split, metric): sigmas(known, split, metric) for split in SPLITS for metric in metrics}
    rows: list[dict[str, Any]] = []
    marks: dict[tuple[int, str], str] = {}
    for c, config in enumerate(known.configs):
        for f, fold in enumerate(known.folds):
            row: dict[str, Any] = {"config_id": config, "fold": fold}
            for (split, metric), far in apart.items():
                row[f"{split}_{metric}"] = float(known.values[split][c, f, known.at[metric]])
                row[f"{split}_{metric}_sigmas"] = far[c, f]
                if abs(far[c, f]) > OUTLIER:
                    marks[len(rows), f"{split}_{metric}"] = "outlier"
            result = run.by_id[config].folds[fold]
            rows.append(row | {"best_epoch": result.best_epoch, "seconds": result.seconds})
    columns = [Column("config_id", "Configuration", "id"), Column("fold", "Fold", "word")]
    columns += [Column(f"{s}_{m}", f"{s.capitalize()} {inside(m)}") for s in SPLITS for m in metrics
                if m in counting and not (s == "test" and m == "score")]  # fmt: skip
    columns += [Column("best_epoch", "Best epoch", "count"), Column("seconds", "Time", "seconds")]
    note = ("Outlined: further than 3 robust σ from what the configuration and the fold let expect "
            "(residual of the two-way fit, σ from the median absolute residual).")  # fmt: skip
    return Table("folds", "Fold by fold", tuple(columns), rows, note, marks, wide=True, filters=True)


def sigmas(known: Figures, split: str, metric: str) -> np.ndarray:
    """[configs, folds]: residuals of configuration + fold effects, in robust standard deviations.

    A fold's own hardness must not make it an outlier of every configuration, and with few folds a value
    can never lie 3 ordinary σ from a mean that it enters itself.
    """
    every = known.of(split, metric)
    whole = np.isfinite(every).all(axis=1)  # of the others, such as those without that task, nothing is said
    values, found = every[whole], np.zeros(every.shape)
    if values.shape[0] < 3 or values.shape[1] < 2:
        return found
    left = values - values.mean(axis=1, keepdims=True)
    left = (left - left.mean(axis=0, keepdims=True)).round(DIGITS)
    configs, folds = values.shape
    scale = 1.4826 * np.median(np.abs(left)) * np.sqrt(left.size / ((configs - 1) * (folds - 1)))
    found[whole] = left / scale if scale > 0 else 0.0
    return found


def class_table(run: Run, known: Figures, configs: Sequence[str], confidence: float) -> Table:
    """Per class, raw and refined, of these configurations on test."""
    rows: list[dict[str, Any]] = []
    metrics = [m for m in CLASS_METRICS if any(f"{m}_{c}" in known.at for c in run.classes)]
    for config in configs:
        for prefix in ("", "refined_"):
            for name in run.classes:
                kind = "refined" if prefix else "raw"
                rows.append({"config_id": config, "predictions": kind, "class": name}
                            | _class_row(known, config, prefix, name, metrics, confidence))  # fmt: skip
    columns = [Column("config_id", "Configuration", "id"), Column("predictions", "Predictions", "word"),
               Column("class", "Class", "word")]  # fmt: skip
    columns += [Column(f"{m}_mean", label(m), spread=f"{m}_std", digits=2 if m == "hd95" else 3)
                for m in metrics if m in CLASS_SHOWN]  # fmt: skip
    rows = [r for r in rows if any(_there(r.get(f"{m}_mean")) for m in metrics)]
    note = "Test figures, mean ± std over folds, of the pick and the first two it is tested against."
    note += f" {DISTANCES}" if any(m == "hd95" for m in metrics) else ""
    return Table("classes", "Per class", tuple(columns), rows, note, wide=True)


def _there(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _class_row(
    known: Figures, config: str, prefix: str, name: str, metrics: Sequence[str], confidence: float
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    at = known.row[config]
    for metric in metrics:
        full = f"{prefix}{metric}_{name}"
        if full in known.at:
            values = known.values["test"][at, :, known.at[full]]
            part = summarise(values, known.ratio["test"], confidence)
            row |= {f"{metric}_{key}": float(part[key]) for key in ("mean", "std", "low", "high")}
    return row


def interval_table(known: Figures, config: str, confidence: float, name: str = "estimates") -> Table:
    """The pick's figures with their error and interval, raw beside refined."""
    rows = []
    at = known.row[config]
    for full in both(leading(known.metrics), known.metrics):
        for split in SPLITS:
            values = known.values[split][at, :, known.at[full]]
            if np.isfinite(values).any():
                part = summarise(values, known.ratio[split], confidence)
                rows.append({"metric": full, "label": label(full), "split": split}
                            | {key: float(value) for key, value in part.items()})  # fmt: skip
    columns = (Column("label", "Metric", "text"), Column("split", "Part", "word"),
               Column("mean", "Mean", spread="std"), Column("se_corrected", "Error of the mean"),
               Column("low", f"{confidence:.0%} from"), Column("high", "to"), Column("min", "Lowest fold"),
               Column("max", "Highest fold"), Column("n", "Folds", "count"))  # fmt: skip
    note = ("The error of the mean is Nadeau and Bengio's: folds share training cases, so the plain "
            "std/√n is too small. The interval is mean ± t(n − 1) × that error; with few folds it may reach "
            "beyond what the figure can be." + (f" {DISTANCES}" if "hd95" in known.at else ""))  # fmt: skip
    return Table(name, f"Figures of {config}", columns, rows, note)


def problem_table(run: Run, problems: Sequence[Problem]) -> Table:
    rows = [{"where": p.where, "what": p.what} for p in problems]
    rows += [
        {"where": f"configuration {c.id}",
         "what": f"{c.status}: {len(c.folds)} of {plural(len(run.folds), 'fold')}"
         + (f"; {c.reason.strip().splitlines()[-1]}" if c.reason.strip() else "")}
        for c in run.configs if c.status not in ("complete", "dropped")
    ]  # fmt: skip
    columns = (Column("where", "Where", "text"), Column("what", "What", "text"))
    return Table("missing", "Left out of this report", columns, rows)
