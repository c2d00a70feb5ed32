"""Which slot trained what when, and how long each stood idle, by the clock that the journal keeps.

A fold that is frozen and taken up again has several stretches, and one that was dropped has some too: none of
that is in the results, so the journal is what is read. It does not say which worker had a task; stretches are
dealt to as few slots as can have run them side by side.
"""

from collections.abc import Sequence
from typing import Any

from reports.draw import SERIES, Canvas, Figure, draw
from reports.events import config_of, fold_of, kind_of
from reports.run import Run

Row = dict[str, Any]
SLACK = 0.05  # seconds by which a stretch may seem to begin before the one ahead of it has ended


def rows(run: Run) -> list[Row]:
    """In seconds since the search began; the time between two stretches of a resumed search is left out."""
    found: list[Row] = []
    before = latest = 0.0
    for record in run.journal:
        if kind_of(record) == "resumed":
            before = latest
        elif kind_of(record) == "ended" and record.get("held") is not None:
            end = before + float(record.get("clock", 0.0))
            latest = max(latest, end)
            found.append({"config_id": config_of(record), "fold": fold_of(record),
                          "status": str(record.get("status", "")), "start": end - float(record["held"]),
                          "end": end})  # fmt: skip
    return _dealt(sorted(found, key=lambda row: (row["start"], row["end"])))


def _dealt(stretches: Sequence[Row]) -> list[Row]:
    free: list[float] = []
    dealt = []
    for row in stretches:
        slot = next((n for n, end in enumerate(free) if end <= row["start"] + SLACK), len(free))
        free[slot : slot + 1] = [row["end"]]
        dealt.append({"slot": slot + 1} | row)
    return sorted(dealt, key=lambda row: (row["slot"], row["start"]))


def idle(rows: Sequence[Row]) -> list[Row]:
    """Per slot: busy, and idle from the search's begin to its last fold's end."""
    whole = max((row["end"] for row in rows), default=0.0)
    found = []
    for slot in dict.fromkeys(row["slot"] for row in rows):
        own = [row for row in rows if row["slot"] == slot]
        busy = sum(row["end"] - row["start"] for row in own)
        found.append({"slot": slot, "stretches": len(own), "busy": busy, "idle": max(0.0, whole - busy),
                      "utilisation": min(1.0, busy / whole) if whole else None})  # fmt: skip
    return found


def sentence(slots: Sequence[Row]) -> str:
    busy, stood = (sum(row[key] for row in slots) for key in ("busy", "idle"))
    told = f"At most {len(slots)} ran at a time. From the search's start they were busy for {minutes(busy)} "
    told += f"and idle for {minutes(stood)}."
    shares = ", ".join(f"slot {row['slot']} {row['utilisation'] or 0:.0%}" for row in slots[:16])
    return f"{told} Busy share: {shares}."


def minutes(seconds: float) -> str:
    return f"{seconds / 3600:.2f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def figure(rows: Sequence[Row]) -> Figure:
    slots = list(dict.fromkeys(row["slot"] for row in rows))
    scale, unit = (3600, "hours") if max(row["end"] for row in rows) > 7200 else (60, "minutes")

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        for number, slot in enumerate(slots):
            own = [row for row in rows if row["slot"] == slot]
            spans = [(row["start"] / scale, (row["end"] - row["start"]) / scale) for row in own]
            axis.broken_barh(spans, (number - 0.34, 0.68), facecolors=_shades(own), edgecolor="none")
        axis.set_yticks(range(len(slots)), [f"slot {slot}" for slot in slots], fontsize=8)
        axis.set(xlabel=f"{unit} since the search began", ylim=(len(slots) - 0.4, -0.6), xlim=(0, None))
        axis.grid(axis="y", visible=False)

    return draw("timeline", "Timeline of the workers", ("timeline", "slots"), paint, 8.6,
                0.9 + 0.34 * len(slots), "Neighbours alternate in shade, orange did not run to a fold's "
                "end (frozen, stopped or failed); gaps are idle time.")  # fmt: skip


def _shades(own: Sequence[Row]) -> list[str]:
    return [SERIES[n % 2 * 5] if row["status"] == "complete" else SERIES[1] for n, row in enumerate(own)]
