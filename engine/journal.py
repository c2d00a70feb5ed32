"""The event log of a run: everything a decision reads, one checksummed JSON line per record.

On a disk the journal is one file that only grows, synced at each commit. Object stores cannot append:
there each commit is one immutable segment, named by the numbers of its first and last record.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from engine.errors import SonotuneError
from engine.results import RunPaths
from engine.storage import Storage

Record = dict[str, Any]

CRC = b',"crc":"%08x"}\n'
CRC_LENGTH = len(CRC % 0)
MERGE_ABOVE = 200  # segments; a resume merges more than these into one, so that reading stays quick
READERS = 16


def encode(number: int, record: Mapping[str, Any]) -> bytes:
    """One line; the checksum is its last key, so that the line is plain JSON and covers all before it."""
    if "n" in record:
        raise ValueError("a journal record cannot have a key `n`; it holds the record's number")
    body = json.dumps({"n": number, **record}, separators=(",", ":"), ensure_ascii=True).encode()[:-1]
    return body + CRC % zlib.crc32(body)


def decode(line: bytes, number: int) -> Record | None:
    """The record without its bookkeeping, or None when the line is not record `number` as written."""
    body = line[:-CRC_LENGTH]
    if not body or line[-CRC_LENGTH:] != CRC % zlib.crc32(body):
        return None
    record = json.loads(body + b"}")
    return record if record.pop("n", None) == number else None


def parse(data: bytes, first: int, name: str) -> tuple[list[Record], int]:
    """The records of one file and the length of its sound part; only its last line may be torn."""
    records: list[Record] = []
    sound = 0
    for line in _lines(data):
        record = decode(line, first + len(records))
        if record is None:
            if sound + len(line) < len(data):
                raise SonotuneError(
                    f"{name}, line {len(records) + 1}: the checksum or the number is wrong, so the journal "
                    "is damaged; restore it from a backup, or start a new run that reuses this one's results"
                )
            break
        records.append(record)
        sound += len(line)
    return records, sound


def _lines(data: bytes) -> list[bytes]:
    """Cut at newlines alone: a damaged byte may look like another kind of line end."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


class Journal:
    """`records` is what the run has gone through so far; `warnings` says what had to be dropped."""

    def __init__(self, storage: Storage) -> None:
        folder = storage.local()
        self._sink: _File | _Segments = _File(folder / RunPaths.journal) if folder else _Segments(storage)
        self.records, self.warnings = self._sink.load()
        self._next = len(self.records) + 1
        self._pending: list[bytes] = []

    def append(self, record: Mapping[str, Any]) -> int:
        """Takes the record in; it is durable, and a decision may rest on it, only after `commit`."""
        number = self._next
        self._pending.append(encode(number, record))
        self._next += 1
        return number

    def commit(self) -> None:
        """Everything appended so far, in one write and one sync. After an error it may be tried again."""
        if not self._pending:
            return
        self._sink.add(b"".join(self._pending), self._next - len(self._pending), self._next - 1)
        self._pending.clear()

    def close(self) -> None:
        self.commit()
        self._sink.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(storage: Storage) -> tuple[list[Record], list[str]]:
    """The records and the warnings, without changing anything: for reports, and while a driver writes."""
    folder = storage.local()
    sink = _File(folder / RunPaths.journal) if folder else _Segments(storage)
    return sink.peek()


class _File:
    """One file on a disk. What lies behind the last committed byte is cut off before the next write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._size = 0

    def peek(self) -> tuple[list[Record], list[str]]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise SonotuneError(f"cannot read {self.path}: {error.strerror}; check its rights") from error
        records, self._size = parse(data, 1, str(self.path))
        torn = len(data) - self._size
        return records, [_dropped(self.path.name, torn)] if torn else []

    def load(self) -> tuple[list[Record], list[str]]:
        found = self.peek()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._cut_back()
            _sync_folder(self.path.parent)
        except OSError as error:
            raise self._refused(error) from error
        return found

    def add(self, data: bytes, first: int, last: int) -> None:
        try:
            self._cut_back()
            os.lseek(self._file, self._size, os.SEEK_SET)
            _write_all(self._file, data)
            os.fsync(self._file)
        except OSError as error:
            self._try_cutting_back()
            raise self._refused(error) from error
        self._size += len(data)

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

    def _refused(self, error: OSError) -> SonotuneError:
        return SonotuneError(
            f"cannot write the journal {self.path}: {error.strerror or error}; nothing of it is lost: make "
            "room or give the rights, then run `sonotune resume`"
        )


class _Segments:
    """Immutable objects `first-last.jsonl`; one that lies within another is a leftover of a merge."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def peek(self) -> tuple[list[Record], list[str]]:
        records, _, warnings = self._read()
        return records, warnings

    def load(self) -> tuple[list[Record], list[str]]:
        records, names, warnings = self._read()
        leftover = set(self._names()) - set(names)
        if warnings or len(names) > MERGE_ABOVE:
            leftover |= self._merge(records, names)
        self._each(self.storage.delete, [f"{RunPaths.segments}/{name}" for name in sorted(leftover)])
        return records, warnings

    def add(self, data: bytes, first: int, last: int) -> None:
        self.storage.write(f"{RunPaths.segments}/{segment_name(first, last)}", data)

    def close(self) -> None:
        """Nothing is held open."""

    def _names(self) -> list[str]:
        return [name for name in self.storage.list(RunPaths.segments) if name.endswith(".jsonl")]

    def _read(self) -> tuple[list[Record], list[str], list[str]]:
        names = list(_chain(self._names()))
        contents = self._each(self.storage.read, [f"{RunPaths.segments}/{name}" for name in names])
        records: list[Record] = []
        warnings: list[str] = []
        for name, data in zip(names, contents, strict=True):
            found, sound = parse(data, len(records) + 1, f"{RunPaths.segments}/{name}")
            records += found
            if sound < len(data) or len(records) < _range(name)[1]:
                self._must_be_last(name, names)
                warnings.append(_dropped(name, len(data) - sound))
        return records, names, warnings

    def _must_be_last(self, name: str, names: list[str]) -> None:
        if name != names[-1]:
            raise SonotuneError(
                f"{RunPaths.segments}/{name} of the journal is cut short although later ones exist; restore it "
                "from a backup, or start a new run that reuses this one's results"
            )

    def _merge(self, records: list[Record], names: list[str]) -> set[str]:
        """One segment in the place of many (or of a torn one); the names that it makes superfluous."""
        whole = segment_name(1, len(records))
        if records:
            data = b"".join(encode(number, record) for number, record in enumerate(records, start=1))
            self.storage.write(f"{RunPaths.segments}/{whole}", data)
        return set(names) - {whole}

    def _each(self, action: Callable[[str], Any], paths: Iterable[str]) -> list[Any]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(action, paths))


def segment_name(first: int, last: int) -> str:
    return f"{first:010d}-{last:010d}.jsonl"


def _range(name: str) -> tuple[int, int]:
    try:
        first, last = name.removesuffix(".jsonl").split("-")
        return int(first), int(last)
    except ValueError as error:
        raise SonotuneError(f"{RunPaths.segments}/{name} is no journal segment; move it elsewhere") from error


def _chain(names: Iterable[str]) -> Iterator[str]:
    """The segments that follow one another from record 1 on, the longest where two begin together."""
    reached = 0
    for name in sorted(names, key=lambda name: (_range(name)[0], -_range(name)[1])):
        first, last = _range(name)
        if last <= reached:
            continue
        if first != reached + 1:
            raise SonotuneError(
                f"the journal lacks records {reached + 1} to {first - 1} before {RunPaths.segments}/{name}; "
                "restore the missing segment, or start a new run that reuses this one's results"
            )
        yield name
        reached = last


def _dropped(name: str, torn: int) -> str:
    return f"{name}: the last line was torn ({torn} bytes) and is dropped; what it recorded is done again"


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
