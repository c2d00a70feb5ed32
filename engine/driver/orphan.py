"""A driver whose own Ray has died says so, lets go of its run and ends.

Ray would leave it waiting for half a minute in calls that no signal reaches, then abort it with a message
from its C++. The journal is whole at any moment, so ending there loses no more than `kill -9` does.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray._private.worker as ray_worker
from ray._private import ray_constants

log = logging.getLogger("sonotune")

LOOK = 0.5  # seconds between two looks
GRACE = 5.0  # seconds for a driver that notices by itself, or was about to end

HEADS = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)
FAILED = 1


@contextmanager
def watched(leave: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile `leave` is called with what to say when Ray dies, and the process ends."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(over, leave), name="watches Ray", daemon=True).start()
    try:
        yield
    finally:
        over.set()  # Ray is stopped after this, on purpose


def _watch(over: threading.Event, leave: Callable[[str], None]) -> None:
    while not (lost := _lost()):
        if over.wait(LOOK):
            return
    time.sleep(GRACE)
    log.error("Ray's %s has ended", lost)
    try:
        leave(f"Ray's own processes on this machine were killed or told to go (its {lost} first)")
    finally:
        os._exit(FAILED)


def _lost() -> str | None:
    node = ray_worker._global_node
    processes: dict[str, Any] = node.all_processes if node else {}
    ended = (kind for kind in HEADS for each in processes.get(kind, ()) if each.process.poll() is not None)
    return next(ended, None)
