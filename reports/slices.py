"""Drawings of the search space: slices, parallel coordinates, a contour of two."""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.configs import Row, is_number, short, unit
from reports.draw import SERIES, SOFT, Canvas, Figure, draw

SYMBOLS = {"loss.lambda": "λ, the weight of segmentation", "loss.alpha": "α, the soft-region weight",
           "loss.gamma": "γ, the feature loss"}  # fmt: skip
AXES = 7
LINE = 40  # letters that fit above a panel


def first(names: Sequence[str]) -> list[str]:
    """λ, α and γ before all others, whatever their importance: they are what the papers argue about."""
    symbols = [name for name in SYMBOLS if name in names]
    return symbols + [name for name in names if name not in symbols]


def slice_figure(rows: Sequence[Row], names: Sequence[str], pick: str | None, logs: Container[str]) -> Figure:
    def paint(sheet: Canvas) -> None:
        across = min(3, len(names))
        axes = np.atleast_1d(
            sheet.subplots(-(-len(names) // across), across, sharey=True, squeeze=False)
        ).ravel()
        for axis, name in zip(axes, names, strict=False):
            _slice(axis, [row for row in rows if row[name] is not None], name, pick, name in logs)
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        axes[0].set_ylabel("validation score")

    height = 2.6 * -(-len(names) // 3)
    return draw(
        "slices",
        "Score by hyperparameter",
        ("configurations",),
        paint,
        9.2,
        height,
        "A point is a configuration's mean, its bar ± std over folds; the pick is orange.",
    )


def _slice(axis: Any, rows: Sequence[Row], name: str, pick: str | None, log: bool) -> None:
    values = [row[name] for row in rows]
    x = values if is_number(values) else [str(v) for v in values]
    y = np.array([row["score_mean"] for row in rows])
    spread = np.nan_to_num([row["score_std"] for row in rows])
    colours = [SERIES[1] if row["config_id"] == pick else SERIES[0] for row in rows]
    axis.errorbar(x, y, yerr=spread, fmt="none", ecolor=SOFT, elinewidth=0.7, alpha=0.55)
    axis.scatter(x, y, c=colours, s=16, zorder=3, linewidths=0)
    if log:
        axis.set_xscale("log")
        mark_decades(axis.xaxis, values)
    axis.set_title(SYMBOLS.get(name) or broken(name), fontsize=8.5)
    axis.tick_params(axis="x", labelsize=8)


def broken(name: str) -> str:
    """A long path goes on in a second line, where it would run into its neighbour's."""
    at = name.rfind(".", 0, LINE) + 1
    return f"{name[:at]}\n{name[at:]}" if len(name) > LINE and at else name


def mark_decades(side: Any, values: Sequence[float]) -> None:
    """Over less than two decades powers of ten alone would leave one mark or none, and more would overlap."""
    reach = max(values) / min(values)
    subs = (1, 2, 5) if reach < 20 else (1, 3) if reach < 100 else (1,)
    side.set_major_locator(LogLocator(subs=subs))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())


def parallel_figure(
    rows: Sequence[Row], names: Sequence[str], pick: str | None, logs: Container[str]
) -> Figure:
    shown = list(names)[:AXES]

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        columns = [unit([row[name] for row in rows], name in logs) for name in shown]
        _lines(axis, rows, columns, pick)
        _axes(axis, rows, [*shown, "score_mean"])

    return draw(
        "parallel",
        "Parallel coordinates",
        ("configurations",),
        paint,
        9.2,
        3.4,
        "A line is a complete configuration, the stronger the better; the pick is orange.",
    )


def _lines(axis: Any, rows: Sequence[Row], columns: Sequence[np.ndarray], pick: str | None) -> None:
    """The score is the last axis; the best configurations lie on top and stand out."""
    scores = np.array([row["score_mean"] for row in rows])
    heights = np.stack([*columns, unit(scores.tolist(), False)])  # [axes, rows]
    for n in np.argsort(scores):
        mine, share = rows[n]["config_id"] == pick, heights[-1, n]
        axis.plot(range(len(heights)), heights[:, n], zorder=5 if mine else 2,
                  color=SERIES[1] if mine else SERIES[0], alpha=1 if mine else 0.08 + 0.5 * share**2,
                  linewidth=2.2 if mine else 1)  # fmt: skip


def _axes(axis: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    axis.set_xticks(range(len(names)), [_name(name) for name in names], fontsize=8)
    axis.set(yticks=[], ylim=(-0.1, 1.1), xlim=(-0.3, len(names) - 0.7))
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.grid(axis="y", visible=False)
    for at, name in enumerate(names):
        values = [row[name] for row in rows if row[name] is not None]
        ends = (
            (min(values), max(values))
            if is_number(values)
            else (min(map(str, values)), max(map(str, values)))
        )
        for y, end, place in ((-0.03, ends[0], "top"), (1.03, ends[1], "bottom")):
            axis.text(at, y, short(end)[:12], ha="center", va=place, fontsize=7.5, color=SOFT)


def _name(name: str) -> str:
    return "score" if name == "score_mean" else name.replace(".", "\n", 1) if len(name) > 9 else name


def contour_figure(
    rows: Sequence[Row], names: Sequence[str], pick: str | None, logs: Container[str]
) -> Figure:
    first, second = names[:2]

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        x, y = (np.array([float(row[name]) for row in rows]) for name in (first, second))
        z = np.array([row["score_mean"] for row in rows])
        u, v = unit(x.tolist(), first in logs), unit(y.tolist(), second in logs)
        grid = np.linspace(0, 1, 60)
        surface = smooth(np.stack([u, v], axis=1), z, grid)
        to_x, to_y = _back(x, grid, first in logs), _back(y, grid, second in logs)
        filled = axis.contourf(to_x, to_y, surface, levels=9, cmap="Blues", alpha=0.55)
        axis.scatter(x, y, c=SOFT, s=12, linewidths=0)
        mine = [n for n, row in enumerate(rows) if row["config_id"] == pick]
        axis.scatter(x[mine], y[mine], c=SERIES[1], s=46, marker="D", linewidths=0, clip_on=False, zorder=5)
        axis.set(xscale="log" if first in logs else "linear", yscale="log" if second in logs else "linear")
        for side, values, name in ((axis.xaxis, x, first), (axis.yaxis, y, second)):
            if name in logs:
                mark_decades(side, values.tolist())
        axis.set(xlabel=SYMBOLS.get(first, first), ylabel=SYMBOLS.get(second, second))
        sheet.colorbar(filled, ax=axis, label="validation score, smoothed")

    return draw("contour", f"Score over {first} and {second}", ("configurations",), paint, 6.8, 3.7,
                "Smoothed over the complete configurations (dots); the pick is the diamond.")  # fmt: skip


def smooth(points: np.ndarray, values: np.ndarray, grid: np.ndarray, width: float = 0.16) -> np.ndarray:
    """[grid, grid]: a Gaussian-weighted mean; far from all points it is the nearest ones' mean."""
    mesh = np.stack(np.meshgrid(grid, grid), axis=-1)
    distance = ((mesh[:, :, None] - points) ** 2).sum(axis=-1) / (2 * width**2)
    weights = np.exp(-(distance - distance.min(axis=-1, keepdims=True)))
    return np.asarray((weights * values).sum(axis=-1) / weights.sum(axis=-1))


def _back(values: np.ndarray, grid: np.ndarray, log: bool) -> np.ndarray:
    low, high = values.min(), values.max()
    if log:
        return np.asarray(np.exp(np.log(low) + grid * (np.log(high) - np.log(low))))
    return np.asarray(low + grid * (high - low))
