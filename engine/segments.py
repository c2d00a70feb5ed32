"""The journal on an object store, which cannot append: each commit is one immutable segment."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.errors import SonotuneError
from engine.records import Record, dropped, encode, parse
from engine.results import RunPaths
from engine.storage import Storage

MERGE_ABOVE = 200  # segments; a resume merges more than these into one, so that reading stays quick
READERS = 16


class Segments:
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
                warnings.append(dropped(name, len(data) - sound))
        return records, names, warnings

    def _must_be_last(self, name: str, names: list[str]) -> None:
        if name != names[-1]:
            raise SonotuneError(
                f"{RunPaths.segments}/{name} of the journal is cut short although later ones exist; restore "
                "it from a backup, or start a new run that reuses this one's results"
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
