"""A progress bar on a terminal, gone when the work is done; a log holds results only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """What is being done, how much of it is done, of how much."""
    if not console.is_terminal:
        yield lambda doing, done, of: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda doing, done, of: progress.update(task, description=doing, completed=done, total=of)
