"""What a search has left in its folder, as tests compare it."""

import json
from pathlib import Path
from typing import Any

from engine.journal.journal import read_journal
from engine.results import RunPaths, read_table
from engine.storage import LocalStorage
from engine.task import Task

TIMES = ["seconds", "images_per_second"]


def records(folder: Path, event: str) -> list[dict[str, Any]]:
    return [r for r in read_journal(LocalStorage(folder))[0] if r["event"] == event]


def tasks(folder: Path, event: str, **wanted: Any) -> list[Task]:
    found = records(folder, event)
    return [Task(**r["task"]) for r in found if all(r.get(name) == value for name, value in wanted.items())]


def digits(folder: Path) -> dict[str, str]:
    """Every number of every fold but the times."""
    found = {}
    for path in sorted(folder.glob("results/*/*/*.parquet")):
        table = read_table(LocalStorage(folder), str(path.relative_to(folder)))
        kept = table.drop_columns([name for name in TIMES if name in table.column_names])
        found[str(path.relative_to(folder))] = repr(kept.to_pylist())
    return found


def summary(folder: Path) -> dict[str, Any]:
    from reports.write import write

    write(str(folder))
    found: dict[str, Any] = json.loads((folder / RunPaths.report / "summary.json").read_text())
    return found
