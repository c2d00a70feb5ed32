"""A run copied from a disk to an object store, or back, brings its journal in the form of where it was."""

from engine.journal.records import Record, dropped, parse
from engine.journal.segments import Segments, segment_path
from engine.results import RunPaths
from engine.storage import Storage


def brought_along(storage: Storage) -> bytes:
    """All of the other form's records; nothing where the journal has the form of this place, or is none."""
    if storage.local() is not None:
        return b"" if storage.exists(RunPaths.journal) else Segments(storage).joined()
    if storage.list(RunPaths.segments):
        return b""
    try:
        return storage.read(RunPaths.journal)
    except FileNotFoundError:
        return b""


def read(data: bytes) -> tuple[list[Record], list[str]]:
    records, sound = parse(data, 1, RunPaths.journal)
    torn = len(data) - sound
    return records, [dropped(RunPaths.journal, torn)] if torn else []


def settle(storage: Storage) -> list[str]:
    """Gives the journal the form of this place, before it is written to, and says what had to be dropped. The
    other form goes: were the run copied back, that old journal would be taken for the new one."""
    data = brought_along(storage)
    if not data:
        return []
    records, warnings = read(data)
    sound = data[: parse(data, 1, RunPaths.journal)[1]]
    if storage.local() is not None:
        storage.write(RunPaths.journal, sound)
        storage.delete(RunPaths.segments)
    elif records:
        storage.write(segment_path(1, len(records)), sound)
        storage.delete(RunPaths.journal)
    return warnings
