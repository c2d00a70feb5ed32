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
    return records, _lost(data, sound)


def _lost(data: bytes, sound: int) -> list[str]:
    return [dropped(RunPaths.journal, len(data) - sound)] if len(data) > sound else []


def settle(storage: Storage) -> list[str]:
    """Gives the journal the form of this place, before it is written to, and says what had to be dropped. The
    other form goes: were the run copied back, that old journal would be taken for the new one."""
    data = brought_along(storage)
    if not data:
        return []
    records, sound = parse(data, 1, RunPaths.journal)
    if storage.local() is not None:
        storage.write(RunPaths.journal, data[:sound])
        storage.delete(RunPaths.segments)
    elif records:
        storage.write(segment_path(1, len(records)), data[:sound])
        storage.delete(RunPaths.journal)
    return _lost(data, sound)
