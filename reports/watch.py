"""Rewrites a report as its run goes on."""

import time
from collections.abc import Callable

from rich.console import Console

from engine.lock.lock import held
from engine.results import RunPaths
from engine.spec.select import Select
from engine.storage import Storage, open_storage
from reports.write import write


def watch(
    location: str, out: Console, select: Select | None = None, seconds: float = 20.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:  # fmt: skip
    """Until the run's driver has let go of it or is dead; the page loads itself again meanwhile."""
    storage = open_storage(location)
    while True:
        running, before = held(storage), marks(storage)
        page = write(location, None, select, live=seconds if running else None)
        wrote = f"{time.strftime('%H:%M:%S')}  wrote {page}"
        out.print(wrote, markup=False, highlight=False, soft_wrap=True)
        if not running:
            return page
        while held(storage) and marks(storage) == before:
            sleep(seconds)


def marks(storage: Storage) -> tuple[int, ...]:
    """Changes when a fold ends: how many folds each configuration has."""
    return tuple(len(storage.list(f"{RunPaths.results}/{key}")) for key in storage.list(RunPaths.results))
