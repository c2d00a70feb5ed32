"""Several objectives: who is on the front, and how much the front holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.picking import front
from engine.words import plural
from reports.aggregate import Figures
from reports.draw import SERIES, SOFT, Canvas, Figure, draw
from reports.measures import label, listed

Row = dict[str, Any]


def front_rows(known: Figures, metrics: Sequence[str], signs: Sequence[int]) -> list[Row]:
    """Validation means of the metrics, and who is on the front; `signs` turn them so that more is better."""
    means = np.stack([known.of("validation", m).mean(axis=1) for m in metrics], axis=1)
    member = front(means * np.array(signs))
    return [{"config_id": c, "front": bool(on)} | dict(zip(metrics, map(float, row), strict=True))
            for c, on, row in zip(known.configs, member, means, strict=True)]  # fmt: skip


def summary(rows: Sequence[Row], metrics: Sequence[str], signs: Sequence[int]) -> Row:
    points = np.array([[row[m] for m in metrics] for row in rows]) * np.array(signs)
    points = points[np.isfinite(points).all(axis=1)]
    corner = points.min(axis=0) if len(points) else np.zeros(len(metrics))
    return {"configurations": len(rows), "on_front": sum(row["front"] for row in rows),
            "hypervolume": hypervolume(points, corner)}  # fmt: skip


def sentence(rows: Sequence[Row], held: Row) -> str:
    members = ", ".join([row["config_id"] for row in rows if row["front"]][:12])
    among = f"{held['on_front']} of {plural(held['configurations'], 'configuration')}"
    told = f"{among} {'is' if held['on_front'] == 1 else 'are'} on the front: {members}. "
    return told + f"Hypervolume above the worst of each metric: {held['hypervolume']:.4g}."


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Volume between the points and the reference, more is better; sliced along the last metric."""
    points = points[(points > reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - reference[0])
    order = points[np.argsort(-points[:, -1])]
    levels = np.append(order[:, -1], reference[-1])
    return float(sum(
        (levels[n] - levels[n + 1]) * hypervolume(order[: n + 1, :-1], reference[:-1])
        for n in range(len(order)) if levels[n] > levels[n + 1]
    ))  # fmt: skip


def front_figure(rows: Sequence[Row], metrics: Sequence[str], pick: str | None) -> Figure:
    first, second = metrics[:2]

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        for on, colour, size, name in ((False, SOFT, 14, "dominated"), (True, SERIES[0], 28, "front")):
            own = [row for row in rows if row["front"] is on]
            axis.scatter(
                [r[first] for r in own], [r[second] for r in own], c=colour, s=size, label=name, linewidths=0
            )
        if len(metrics) == 2:  # of more, members may look dominated by what others add to it
            edge = sorted((row[first], row[second]) for row in rows if row["front"])
            axis.plot(*zip(*edge, strict=True), color=SERIES[0], linewidth=1, alpha=0.5)
        mine = [row for row in rows if row["config_id"] == pick]
        axis.scatter([r[first] for r in mine], [r[second] for r in mine], c=SERIES[1], s=52, marker="D",
                     label="pick", linewidths=0)  # fmt: skip
        axis.set(xlabel=f"{label(first)}, validation", ylabel=f"{label(second)}, validation")
        axis.legend()

    more = listed([label(metric) for metric in metrics[2:]])
    note = f"A member that looks dominated is not by {more}." if more else ""
    return draw("front", f"{label(first)} against {label(second)}", ("front",), paint, 6.4, 3.6, note)
