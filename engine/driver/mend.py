"""Complete folds and first stages whose files have been damaged since: a resume trains them again.

To look through the results of thousands of folds takes seconds on a disk and minutes on a store, so it is
done beside the folds that are trained meanwhile; no study ends before it is.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from engine.conductor import Conductor
from engine.storage import Storage
from engine.task import Task

READERS = 8  # of a store; on a disk, where no read waits, they would take the interpreter from each other

Sound = Callable[[Task], bool]


class Inspection:
    """Of a sequence of tasks' results, in threads of its own, from when it is first asked."""

    def __init__(self, tasks: Callable[[], Sequence[Task]], sound: Sound, pool: ThreadPoolExecutor) -> None:
        self._tasks, self._sound, self._pool = tasks, sound, pool
        self._damaged: deque[Task] = deque()
        self._looks: list[Future[None]] | None = None

    def _look(self, task: Task) -> None:
        if not self._sound(task):
            self._damaged.append(task)

    def damaged(self, wait: bool = False) -> list[Task]:
        """Those found since this was last asked; with `wait`, all that there are."""
        if self._looks is None:
            self._looks = [self._pool.submit(self._look, task) for task in self._tasks()]
        for look in self._looks if wait else ():
            look.result()
        return [self._damaged.popleft() for _ in range(len(self._damaged))]


@contextmanager
def inspection(tasks: Callable[[], Sequence[Task]], sound: Sound, storage: Storage) -> Iterator[Inspection]:
    """Whoever leaves before its end needs it no more."""
    pool = ThreadPoolExecutor(1 if storage.local() else READERS)
    try:
        yield Inspection(tasks, sound, pool)
    finally:
        pool.shutdown(cancel_futures=True)


def completed(conductor: Conductor, records: Iterable[Mapping[str, Any]]) -> list[Task]:
    """Not those of configurations that are out, and of first stages on which only such have built; of outer
    folds those of the present picks."""
    last: dict[Task, str] = {}
    for record in records:
        if record["event"] in ("ended", "lost"):
            last[Task(**record["task"])] = record.get("status", "lost")
    picks = conductor.picks()
    return [task for task, status in last.items() if status == "complete" and wanted(conductor, task, picks)]


def wanted(conductor: Conductor, task: Task, picks: Collection[str]) -> bool:
    """A configuration may be out within one outer fold and the pick of another."""
    if not conductor.finals.knows(task):
        return conductor.race.field.needed(task)
    return any(task.key in (key, conductor.entries[key].stage_key) for key in picks)
