"""The warm worker: a Tune trainable that stays alive and takes one fold after the other.

A class rather than a function: each step is one epoch, so a stop acts at once when the epoch is over, and no
thread has to unwind before the next fold may begin. The imports of torch and of the models are paid for
once per worker; the packed data is a view into the node's object store.
"""

import logging
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from engine.data.cases import Pack
from engine.folds.manifest import Manifest
from engine.past import FIGURES
from engine.results import FoldResult
from engine.spec.folds import Folds
from engine.spec.resources import Resources
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import Job, make_job
from engine.training.numerics import Numerics

log = logging.getLogger("sonotune")


@dataclass(frozen=True)
class Shared:
    """What all folds of a study have in common; put once into the object store."""

    pack: Pack
    manifest: Manifest
    location: str
    seed: int
    numerics: Numerics
    objective: tuple[Mapping[str, float], ...]
    resources: Resources
    folds: Folds
    gpu: float = 0.0  # what a fold holds of one

    def job(self, task: Task, record: Mapping[str, Any]) -> Job:
        return make_job(
            task,
            record,
            self.manifest.fold(task.fold),
            self.pack,
            self.folds,
            self.seed,
            self.numerics,
            self.objective,
            self.resources.keep,
        )


class FoldTrainable(tune.Trainable):
    """Tune's config is {"key", "fold", "record"}; a step is an epoch, the last one reports the end."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # type: ignore[override]
        self.shared = shared
        self.storage = open_storage(shared.location)
        self.begin(config)

    def begin(self, config: Mapping[str, Any]) -> None:
        self.task = Task(config["key"], config["fold"])
        self.record = config["record"]
        self.epochs: Generator[dict[str, Any], None, Any] | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self.epochs is None:
                self.epochs = self.start()
            row = next(self.epochs)
        except StopIteration as end:
            return ended(end.value)
        except Exception as error:
            return failed(error)
        return {"row": row}

    def start(self) -> Generator[dict[str, Any], None, Any]:
        from engine.training.memory import hold_to
        from engine.training.run_task import train_task

        hold_to(self.shared.gpu)
        return train_task(self.shared.job(self.task, self.record), self.shared.pack, self.storage)

    def cleanup(self) -> None:
        if self.epochs is not None:
            self.epochs.close()
            self.epochs = None


def ended(result: FoldResult) -> dict[str, Any]:
    """Not marked `done`, or Tune would stop the trial without asking the scheduler."""
    figures = {name: getattr(result, name) for name in FIGURES}
    values = None if result.score is None else list(result.values)
    why = {"note": result.error} if result.error else {}
    return {"end": {"status": result.status, "score": result.score, "values": values, **figures, **why}}


def failed(error: Exception) -> dict[str, Any]:
    """The traceback travels as text: an exception may not be picklable, and the worker stays warm."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    signature = f"{type(error).__name__} at {last.filename}:{last.lineno}"
    text = traceback.format_exc()
    return {"end": {"status": "failed", "signature": signature, "error": text}}
