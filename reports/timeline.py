"""Who trained what when, and how long each worker stood idle."""

from collections.abc import Sequence
from typing import Any

from reports.draw import SERIES, Canvas, Figure, draw
from reports.run import Run

Row = dict[str, Any]


def rows(run: Run) -> list[Row]:
    """When which worker trained what, in seconds since the first start."""
    results = [r for c in run.configs for r in c.folds.values() if r.started] + list(run.stages)
    if not results:
        return []
    zero = min(r.started for r in results)
    rows = [{"worker": r.worker or "?", "config_id": r.key, "fold": r.fold, "stage": r.stage,
             "start": r.started - zero, "end": r.started - zero + r.seconds} for r in results]  # fmt: skip
    return sorted(rows, key=lambda row: (row["worker"], row["start"]))


def idle(rows: Sequence[Row]) -> list[Row]:
    """Per worker: busy, idle between its first and last fold and up to the run's end."""
    end = max((row["end"] for row in rows), default=0.0)
    found = []
    for worker in dict.fromkeys(row["worker"] for row in rows):
        own = [row for row in rows if row["worker"] == worker]
        busy = sum(row["end"] - row["start"] for row in own)
        found.append({"worker": worker, "folds": len(own), "busy": busy, "idle": max(0.0, end - busy),
                      "utilisation": min(1.0, busy / end) if end else None})  # fmt: skip
    return found


def figure(rows: Sequence[Row]) -> Figure:
    workers = list(dict.fromkeys(row["worker"] for row in rows))
    scale, unit = (3600, "hours") if rows[-1]["end"] > 7200 else (60, "minutes")

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        for number, worker in enumerate(workers):
            own = [row for row in rows if row["worker"] == worker]
            spans = [(row["start"] / scale, (row["end"] - row["start"]) / scale) for row in own]
            shades = [SERIES[n % 2 * 5] for n in range(len(own))]
            axis.broken_barh(spans, (number - 0.34, 0.68), facecolors=shades,
                             edgecolor="none")  # fmt: skip
        axis.set_yticks(range(len(workers)), workers, fontsize=8)
        axis.set(xlabel=f"{unit} since the first fold began", ylim=(len(workers) - 0.4, -0.6))
        axis.grid(axis="y", visible=False)

    height = 0.9 + 0.34 * len(workers)
    return draw("timeline", "Timeline of the workers", ("timeline", "workers"), paint, 8.6, height,
                "Neighbouring folds alternate in shade; gaps are idle time.")  # fmt: skip
