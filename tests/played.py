"""A conductor played by hand: one worker, made-up scores, and its journal cut off anywhere."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.conductor import Conductor
from engine.journal.journal import Journal
from engine.race.protocol import Stop
from engine.spec.study import Configuration
from engine.storage import LocalStorage
from engine.task import Task


def score(configuration: Configuration, task: Task, epoch: int) -> float:
    """Made up, but always the same: better for a rate near 0.01, and a little luck per fold."""
    luck = int(hashlib.sha256(task.folder.encode()).hexdigest()[:4], 16) / 65536
    return 1 - abs(configuration.train.lr - 0.01) * 5 + 0.05 * luck - 0.2 / epoch


def play(one: Conductor) -> Iterator[Task]:
    """One worker that trains whatever it is handed; yields each task it begins."""
    while (task := one.next()) is not None:
        yield task
        configuration = one.configuration_of(task)
        best = -1.0
        for epoch in range(1, configuration.train.epochs + 1):
            best = max(best, score(configuration, task, epoch))
            halted = one.reported(task, epoch, score(configuration, task, epoch), [best])
            if task in halted:
                one.ended(task, "stopped" if isinstance(halted[task], Stop) else "frozen")
                break
        else:
            one.ended(task, "complete", best, [best])


def journal(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "commit"} for r in Journal(LocalStorage(folder)).records]


def finished(records: list[dict[str, Any]]) -> set[Task]:
    return {Task(**r["task"]) for r in records if r["event"] == "ended" and r["status"] == "complete"}


def cut_off(whole: Path, place: Path) -> Iterator[Path]:
    """A folder for each boundary of a run's journal, with what stands before it."""
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(len(lines) + 1):
        folder = place / str(cut)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        yield folder


def resumed(one: Conductor) -> Conductor:
    """As a driver that starts again."""
    one.replay(one.ledger.journal.records)
    one.resumed()
    return one
