"""Work on every case in threads, results in order, and never more of them waiting than a few."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]  # what is being done, how much of it is, of how much
AHEAD = 16  # items per thread at a time: memory stays small whatever the size of the data set


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], doing: str = "", progress: Progress | None = None
) -> Iterator[Result]:
    """Threads are enough where the work is done outside Python: decoding, resizing, filtering."""
    threads = cpu_count() or 1
    step = threads * AHEAD
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), step):
            for index, result in enumerate(pool.map(work, items[start : start + step]), start=start + 1):
                if progress:
                    progress(doing, index, len(items))
                yield result
