"""A search that its user, or a machine that is taken away, tells to stop."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from engine.driver.search import TaskSearcher

log = logging.getLogger("sonotune")


@contextmanager
def interruptible(searcher: TaskSearcher, console: Console) -> Iterator[None]:
    """Ctrl-C once closes down cleanly; twice is left to Python."""

    def close(*_: object) -> None:
        if searcher.closing:
            raise KeyboardInterrupt
        searcher.closing = True
        log.info("interrupted by the user")
        console.print("stopping; what runs is taken up again by a resume. Ctrl-C again to leave at once")

    before = {name: signal.signal(name, close) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
