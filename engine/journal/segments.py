"""The journal on an object store, which cannot append: each commit is one immutable segment."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.errors import SonotuneError
from engine.journal.records import Record, dropped, parse
from engine.results import RunPaths
from engine.storage import Storage

MERGE_ABOVE = 200  # segments; a resume merges more than these into one, so that reading stays quick
READERS = 16
LOOKS = 5  # at segments that a resume merges meanwhile


class Segments:
    """Immutable objects `first-last.jsonl`; one that lies within another is a leftover of a merge."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def peek(self) -> tuple[list[Record], list[str]]:
        """What was listed may be gone when it is read: a resume has merged it into one that is there now."""
        for _ in range(LOOKS):
            try:
                records, _, warnings = self._read(self._names())
                return records, warnings
            except FileNotFoundError as error:
                gone = error
        raise SonotuneError(f"segments of the journal go while they are read ({gone}); try again") from gone

    def load(self) -> tuple[list[Record], list[str]]:
        """Removes what a crash has left over, and merges where there are too many segments. Listed once: what
        a second list did not show would be taken for a leftover."""
        names = self._names()
        records, contents, warnings = self._read(names)
        if len(contents) > MERGE_ABOVE:
            contents = self._merged(contents, len(records))
        self._each(self.storage.delete, [_path(name) for name in names if name not in contents])
        return records, warnings

    def joined(self) -> bytes:
        return b"".join(self._read(self._names())[1].values())

    def add(self, data: bytes, first: int, last: int) -> None:
        self.storage.write(segment_path(first, last), data)

    def close(self) -> None:
        """Nothing is held open."""

    def _names(self) -> list[str]:
        return [name for name in self.storage.list(RunPaths.segments) if name.endswith(".jsonl")]

    def _read(self, listed: Iterable[str]) -> tuple[list[Record], dict[str, bytes], list[str]]:
        """The records, the sound segments they come from, and what had to be dropped."""
        names = list(_chain(listed))
        contents = dict(
            zip(names, self._each(self.storage.read, [_path(name) for name in names]), strict=True)
        )
        records: list[Record] = []
        for name in names:
            found, sound = parse(contents[name], len(records) + 1, _path(name))
            if sound < len(contents[name]) or len(records) + len(found) < _range(name)[1]:
                self._must_be_last(name, names)
                return records, contents, [dropped(name, len(contents.pop(name)))]
            records += found
        return records, contents, []

    def _must_be_last(self, name: str, names: list[str]) -> None:
        if name != names[-1]:
            raise SonotuneError(
                f"{_path(name)} of the journal is cut short although later ones exist; restore "
                "it from a backup, or start a new run that reuses this one's results"
            )

    def _merged(self, contents: dict[str, bytes], count: int) -> dict[str, bytes]:
        """One segment in the place of many."""
        whole = b"".join(contents.values())
        self.add(whole, 1, count)
        return {segment_name(1, count): whole}

    def _each(self, action: Callable[[str], Any], paths: Iterable[str]) -> list[Any]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(action, paths))


def _path(name: str) -> str:
    return f"{RunPaths.segments}/{name}"


def segment_path(first: int, last: int) -> str:
    return _path(segment_name(first, last))


def segment_name(first: int, last: int) -> str:
    return f"{first:010d}-{last:010d}.jsonl"


def _range(name: str) -> tuple[int, int]:
    try:
        first, last = name.removesuffix(".jsonl").split("-")
        return int(first), int(last)
    except ValueError as error:
        raise SonotuneError(f"{_path(name)} is no journal segment; move it elsewhere") from error


def _chain(names: Iterable[str]) -> Iterator[str]:
    """The segments that follow one another from record 1 on, the longest where two begin together."""
    reached = 0
    for name in sorted(names, key=lambda name: (_range(name)[0], -_range(name)[1])):
        first, last = _range(name)
        if last <= reached:
            continue
        if first <= reached:
            raise SonotuneError(
                f"{_path(name)} of the journal tells records {first} to {reached} a second time, as where "
                "two copies of a run that both went on were put together; take one of the two out"
            )
        if first > reached + 1:
            raise SonotuneError(
                f"the journal lacks records {reached + 1} to {first - 1} before {_path(name)}; "
                "restore the missing segment, or start a new run that reuses this one's results"
            )
        yield name
        reached = last
