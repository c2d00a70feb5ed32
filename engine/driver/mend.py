"""Complete folds whose files have been damaged since: a resume trains them again."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.conductor import Conductor
from engine.task import Task

CHECKED_AT_ONCE = 8  # results whose checksums are read side by side, which an object store takes well


def damaged(
    conductor: Conductor, records: Iterable[Mapping[str, Any]], sound: Callable[[Task], bool]
) -> list[Task]:
    """Of first stages, and of configurations that are out, this is asked where somebody needs them."""
    last: dict[Task, str] = {}
    for record in records:
        if record["event"] in ("ended", "lost"):
            last[Task(**record["task"])] = record.get("status", "lost")
    tasks = [task for task, status in last.items() if status == "complete" and _wanted(conductor, task.key)]
    with ThreadPoolExecutor(CHECKED_AT_ONCE) as pool:
        return [task for task, fine in zip(tasks, pool.map(sound, tasks), strict=True) if not fine]


def _wanted(conductor: Conductor, key: str) -> bool:
    return key in conductor.entries and not conductor.is_out(key)
