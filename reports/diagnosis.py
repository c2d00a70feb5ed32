"""How the pick classifies: confusion matrices, ROC and precision-recall with fold bands, calibration."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reports.draw import GRID, INK, SERIES, SOFT, Canvas, Figure, draw
from reports.stack import Stack
from reports.tables import Column, Table

GRID_POINTS = np.linspace(0, 1, 101)
BINS = 10
Row = dict[str, Any]


def confusion_rows(test: Stack, config: str) -> list[Row]:
    """Counts over all test rows, raw and refined."""
    at, classes = test.row[config], len(test.classes)
    rows = []
    for prefix, kind in (("", "raw"), ("refined_", "refined")):
        said = test.columns[f"{prefix}predicted"][at]
        known = (said >= 0) & (test.label >= 0)
        cells = test.label[known] * classes + said[known]
        matrix = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
        for truth, counts in zip(test.classes, matrix, strict=True):
            row: Row = {"config_id": config, "predictions": kind, "truth": truth}
            rows.append(row | {f"as_{c}": int(v) for c, v in zip(test.classes, counts, strict=True)})
    return rows


def confusion_table(rows: Sequence[Row], classes: Sequence[str]) -> Table:
    columns = [Column("predictions", "Predictions", "word"), Column("truth", "Truth", "word")]
    columns += [Column(f"as_{c}", f"Predicted {c}", "count") for c in classes]
    return Table("confusion", "Confusion matrices", tuple(columns), rows, "Counts over the test rows.")


def confusion_figure(rows: Sequence[Row], classes: Sequence[str]) -> Figure:
    kinds = list(dict.fromkeys(row["predictions"] for row in rows))

    def paint(sheet: Canvas) -> None:
        axes = np.atleast_1d(sheet.subplots(1, len(kinds)))
        for axis, kind in zip(axes, kinds, strict=True):
            own = [row for row in rows if row["predictions"] == kind]
            _matrix(axis, np.array([[row[f"as_{c}"] for c in classes] for row in own]), classes, kind)

    grown = 1 + max(0, len(classes) - 4) / 4
    size = 7.6 * grown, 3.3 * grown
    rows_each = sum(row[f"as_{c}"] for row in rows for c in classes) // max(1, len(kinds))
    return draw("confusion", "Confusion matrices of the pick on test", ("confusion",), paint, *size,
                f"Counts over the {rows_each:,} test rows of all folds, and the share of the true class; the "
                "shade is the share.")  # fmt: skip


def _matrix(axis: Any, counts: np.ndarray, classes: Sequence[str], title: str) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.grid(False)
    for r, c in np.ndindex(*counts.shape):
        axis.add_patch(_square(c, r, share[r, c]))
        axis.text(c, r - 0.08, str(counts[r, c]), ha="center", va="center", fontsize=11, color=INK)
        axis.text(c, r + 0.24, f"{share[r, c]:.0%}", ha="center", va="center", fontsize=8, color=SOFT)
    axis.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), aspect="equal", title=title)
    many = len(classes) > 4
    axis.set_xticks(
        range(len(classes)), classes, rotation=40 if many else 0, ha="right" if many else "center"
    )
    axis.set_yticks(range(len(classes)), classes, rotation=0 if many else 90, va="center")
    axis.set(xlabel="predicted", ylabel="truth")
    axis.tick_params(length=0)


def _square(x: int, y: int, share: float) -> Any:
    """Shaded by opacity, so that it reads on light and on dark paper."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    face = to_rgba(SERIES[0], 0.04 + 0.5 * share)
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=face, edgecolor="none")


def roc(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """True-positive rate at each of the grid's false-positive rates."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.diff(scores[order]) != 0, True)
    tp, fp = np.cumsum(positive[order])[ends], np.cumsum(~positive[order])[ends]
    x, y = np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1])
    return np.interp(GRID_POINTS, *_upper(x, y))


def _upper(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the points above one x only the last counts, so that a vertical rise is not averaged."""
    last = np.append(np.diff(x) > 0, True)
    return x[last], y[last]


def precision_recall(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The best precision at a recall of at least each point of the grid."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.diff(scores[order]) != 0, True)
    tp = np.cumsum(positive[order])[ends]
    said = (np.arange(len(scores)) + 1)[ends]
    recall, precision = tp / tp[-1], np.maximum.accumulate((tp / said)[::-1])[::-1]
    return np.asarray(precision[np.minimum(np.searchsorted(recall, GRID_POINTS - 1e-12), len(recall) - 1)])


LINES = ("-", "--", ":")
CURVES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"roc": roc, "pr": precision_recall}


def curve_rows(test: Stack, config: str, kind: str) -> list[Row]:
    """Mean and spread over folds of each class against the rest, on a common grid."""
    at = test.row[config]
    rows = []
    for number, name in enumerate(test.classes):
        curves = []
        for fold in np.unique(test.fold):
            mine = test.fold == fold
            scores, positive = test.probabilities[at, mine, number], test.label[mine] == number
            if np.isfinite(scores).all() and 0 < positive.sum() < len(positive):
                curves.append(CURVES[kind](scores, positive))
        rows += _grid_rows(np.array(curves), config, name) if curves else []
    return rows


def _grid_rows(curves: np.ndarray, config: str, name: str) -> list[Row]:
    mean = curves.mean(axis=0)
    std = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(mean))
    return [{"config_id": config, "class": name, "x": float(x), "mean": float(m), "std": float(s),
             "folds": len(curves)} for x, m, s in zip(GRID_POINTS, mean, std, strict=True)]  # fmt: skip


def curve_figure(roc_rows: Sequence[Row], pr_rows: Sequence[Row]) -> Figure:
    def paint(sheet: Canvas) -> None:
        left, right = sheet.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=GRID, linewidth=1)
        _curves(left, roc_rows)
        left.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC")
        _curves(right, pr_rows)
        right.set(xlabel="recall", ylabel="precision", title="Precision-recall", ylim=(-0.03, 1.03))
        left.legend(loc="lower right", ncols=1 + len(left.get_legend_handles_labels()[1]) // 6)

    return draw(
        "curves-classes",
        "ROC and precision-recall curves of the pick on test, each class against the rest",
        ("roc", "precision_recall"),
        paint,
        8.2,
        3.5,
        "Mean over folds; the band is ± std.",
    )


def _curves(axis: Any, rows: Sequence[Row]) -> None:
    for number, name in enumerate(dict.fromkeys(row["class"] for row in rows)):
        colour, line = SERIES[number % len(SERIES)], LINES[number // len(SERIES) % len(LINES)]
        own = [row for row in rows if row["class"] == name]
        x, mean, std = (np.array([row[key] for row in own]) for key in ("x", "mean", "std"))
        axis.fill_between(x, np.clip(mean - std, 0, 1), np.clip(mean + std, 0, 1), color=colour, alpha=0.14,
                          linewidth=0)  # fmt: skip
        axis.plot(x, mean, line, color=colour, label=name)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def calibration_rows(test: Stack, config: str) -> list[Row]:
    """Confidence against the share that is right, in bins of equal width. The interval is Wilson's for as
    many cases as are independent: repeats of a case and cases of one patient tell little new."""
    at = test.row[config]
    chances = test.probabilities[at]
    known = np.isfinite(chances).all(axis=1)
    confidence, right = chances[known].max(axis=1), chances[known].argmax(axis=1) == test.label[known]
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    independent = len(np.unique(test.cluster[known])) / max(1, known.sum())
    rows = []
    for b in np.unique(place):
        mine = place == b
        share, apart = float(right[mine].mean()), independent * float(mine.sum())
        low, high = wilson(share, apart)
        rows.append({"config_id": config, "from": b / BINS, "to": (b + 1) / BINS,
                     "confidence": float(confidence[mine].mean()), "accuracy": share,
                     "low": low, "high": high, "cases": int(mine.sum()), "independent": apart})  # fmt: skip
    return rows


def wilson(share: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return middle - reach, middle + reach


def calibration_figure(rows: Sequence[Row]) -> Figure:
    def paint(sheet: Canvas) -> None:
        left, right = sheet.subplots(1, 2, width_ratios=(1.2, 1))
        x, y = [r["confidence"] for r in rows], [r["accuracy"] for r in rows]
        reach = [[r["accuracy"] - r["low"] for r in rows], [r["high"] - r["accuracy"] for r in rows]]
        left.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        left.errorbar(x, y, yerr=np.abs(reach), color=SERIES[0], marker="o", markersize=4, linewidth=1.4)
        left.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02), title="Calibration")
        right.bar([r["from"] for r in rows], [r["cases"] for r in rows], width=0.94 / BINS, align="edge",
                  color=SERIES[0], alpha=0.75)  # fmt: skip
        right.set(xlabel="confidence", ylabel="cases", xlim=(0, 1), title="Cases per bin")

    return draw("calibration", "Calibration of the pick on test", ("calibration",), paint, 7.6, 3.2,
                f"{BINS} bins (ECE has finer ones). Bars: 95 % Wilson intervals; on the dashed line "
                "confidence is earned.")  # fmt: skip


def plain_table(name: str, title: str, rows: Sequence[Row], note: str = "") -> Table:
    """A table for the CSV first of all: its columns are its keys."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    words = {key for row in rows for key, value in row.items() if isinstance(value, str)}
    columns = tuple(Column(key, key.replace("_", " "), "text" if key in words else "number") for key in keys)
    return Table(name, title, columns, rows, note)
