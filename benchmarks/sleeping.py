"""Folds that sleep in the place of training, and note when.

Like real ones they go on after the epochs that were heard of: a frozen fold does not sleep those again.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EPOCHS = 4


def note(folder: str | Path, began: float, epochs: int = EPOCHS) -> None:
    """One file per stretch of a fold without a freeze: its beginning, its end, its worker and its epochs."""
    row = [began, time.time(), os.getpid(), epochs]
    (Path(folder) / f"{os.getpid()}-{began}.json").write_text(json.dumps(row))


def spans(folder: str | Path) -> list[list[float]]:
    return sorted(json.loads(path.read_text()) for path in Path(folder).glob("*.json"))


def sleeper(seconds: float, notes: str | Path | None = None, epochs: int = EPOCHS) -> Any:
    """Without torch: its workers stay small."""
    from engine.driver.worker import FoldTrainable
    from engine.results import FoldResult

    class Sleeper(FoldTrainable):
        def start(self) -> Any:
            return self.sleep()

        def sleep(self) -> Iterator[dict[str, Any]]:
            began = time.time()
            for epoch in range(self.heard + 1, epochs + 1):
                time.sleep(seconds / epochs)
                if notes:
                    note(notes, began, epoch - self.heard)
                yield {"epoch": epoch, "score": 0.5, "best": 0.5, "values": [0.5], "stage": "main"}
            return FoldResult(self.task.key, self.task.fold, "complete", {}, [], "", score=0.5, values=[0.5])

    return Sleeper
