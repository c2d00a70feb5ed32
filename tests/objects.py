"""An object store in memory, and a journal to fill it with."""

from typing import Any

from engine.journal.journal import Journal
from engine.journal.records import encode, seal
from engine.storage import Storage

RECORDS: list[dict[str, Any]] = [
    {"event": "asked", "params": {"loss.lambda": 0.1 + 0.2, "model": "α"}},
    {"event": "told", "values": [0.5]},
    {"event": "score", "epoch": 3, "score": 1e-17},
    {"event": "ended"},
]


class Objects(Storage):
    """An object store in memory: whole objects only, no folder on a disk."""

    def __init__(self) -> None:
        self.location = "objects://run"
        self.objects: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]

    def write(self, path: str, data: bytes) -> None:
        self.objects[path] = data

    def list(self, folder: str) -> list[str]:
        return sorted(
            path.removeprefix(folder + "/") for path in self.objects if path.startswith(folder + "/")
        )

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)


def fill(storage: Storage, records: list[dict], together: int = 2) -> None:
    with Journal(storage) as journal:
        for number, record in enumerate(records, start=1):
            journal.append(record)
            if number % together == 0:
                journal.commit()


def whole() -> bytes:
    """One commit for each record."""
    return b"".join(seal([encode(number, record)]) for number, record in enumerate(RECORDS, start=1))
