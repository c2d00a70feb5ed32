"""The event log of a run: everything a decision reads, one checksummed JSON line per record.

On a disk the journal is one file that only grows, synced at each commit. Object stores cannot append:
there each commit is one immutable segment, named by the numbers of its first and last record.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import SonotuneError, StorageError
from engine.journal import moved
from engine.journal.records import Record, dropped, encode, parse, seal
from engine.journal.segments import Segments
from engine.persist import PASSING, persist
from engine.results import RunPaths
from engine.storage import Storage, opened_in_place

GROUPED = 1.0  # seconds for which a record that nothing follows from may wait for others


class Journal:
    """`records` is what the run has gone through so far; `warnings` says what had to be dropped.

    `guard` is called before each write and raises when this driver no longer holds the run.
    """

    def __init__(
        self,
        storage: Storage,
        guard: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard, self._now = guard, now
        folder, lost = storage.local(), moved.settle(storage)
        self._sink: _File | Segments = _File(folder / RunPaths.journal) if folder else Segments(storage)
        self.records, warnings = self._sink.load()
        self.warnings = [*lost, *warnings]
        self._next = len(self.records) + 1
        self._pending: list[bytes] = []
        self._since = 0.0  # when the first of them was appended

    def append(self, record: Mapping[str, Any]) -> int:
        """Takes the record in; it is durable, and a decision may rest on it, only after `commit`."""
        number = self._next
        if not self._pending:
            self._since = self._now()
        self._pending.append(encode(number, record))
        self._next += 1
        return number

    def note(self, record: Record) -> None:
        """What happens before the run goes on, so that whoever goes through its `records` meets it too."""
        self.append(record)
        self.records.append(record)

    def commit(self) -> None:
        """Everything appended so far, whole or not at all. After an error it may be tried again."""
        if not self._pending:
            return
        self._guard()
        self._sink.add(seal(self._pending), self._next - len(self._pending), self._next - 1)
        self._pending.clear()

    def commit_soon(self) -> None:
        """For what nothing follows from yet: one write for all records of about a second."""
        if self._pending and self._now() - self._since >= GROUPED:
            self.commit()

    def close(self) -> None:
        try:
            self.commit()
        finally:
            self._sink.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(storage: Storage) -> tuple[list[Record], list[str]]:
    """The records and the warnings, without changing anything: for reports, and while a driver writes."""
    if data := moved.brought_along(storage):
        return moved.read(data)
    folder = storage.local()
    sink = _File(folder / RunPaths.journal) if folder else Segments(storage)
    return sink.peek()


class _File:
    """One file on a disk. What lies behind the last committed byte is cut off before the next write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._size = 0

    def peek(self) -> tuple[list[Record], list[str]]:
        try:
            data = persist(self.path.read_bytes, f"read the journal {self.path}")
        except FileNotFoundError:
            return [], []
        records, self._size = parse(data, 1, str(self.path))
        torn = len(data) - self._size
        return records, [dropped(self.path.name, torn)] if torn else []

    def load(self) -> tuple[list[Record], list[str]]:
        found = self.peek()
        persist(self._open, f"open the journal {self.path}")
        return found

    def _open(self) -> None:
        self.close()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = opened_in_place(self.path, os.O_RDWR)
            self._cut_back()
            _sync_folder(self.path.parent)
        except OSError as error:
            if error.errno in PASSING:
                raise
            raise self._refused(error) from error

    def add(self, data: bytes, first: int, last: int) -> None:
        """What may pass is tried again: written anew, as a sync that failed may have lost the pages."""
        persist(lambda: self._add(data), f"write the journal {self.path}")
        self._size += len(data)

    def _add(self, data: bytes) -> None:
        try:
            self._cut_back()
            os.lseek(self._file, self._size, os.SEEK_SET)
            _write_all(self._file, data)
            os.fsync(self._file)
        except OSError as error:
            self._try_cutting_back()
            if error.errno in PASSING:
                raise
            raise self._refused(error) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _cut_back(self) -> None:
        """A torn tail must go before more is written, or it would end up in the middle."""
        there = os.fstat(self._file).st_size
        if there < self._size:
            raise SonotuneError(
                f"{self.path} has shrunk from {self._size} to {there} bytes under this run; something else "
                "changes it: stop that, then resume"
            )
        if there > self._size:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)

    def _try_cutting_back(self) -> None:
        """The torn tail goes at once; where even that fails, the next write or the next reader drops it."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            return

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write the journal {self.path}: {error.strerror or error}; nothing of it is lost: make "
            "room or give the rights, then run `sonotune resume`"
        )


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    """Without this a new file's name may be gone after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
