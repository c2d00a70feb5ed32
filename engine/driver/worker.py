"""The warm worker: a Tune trainable that stays alive and takes one fold after the other.

A class rather than a function: each step is one epoch, so a stop acts at once when the epoch is over, and no
thread has to unwind before the next fold may begin. The imports of torch and of the models are paid for
once per worker; the packed data is a view into the node's object store.

A worker that is told to go (SIGTERM: a spot machine's notice, a drained node) finishes the epoch in hand,
whose checkpoint is then stored and whose report is heard, and goes; an idle one goes at once. Where the
notice is too short for that, the checkpoint of the epoch before serves.
"""

import gc
import json
import logging
import signal
import sys
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ray import tune

from engine.data.cases import Pack
from engine.driver.faults import kind_of
from engine.folds.manifest import Manifest
from engine.results import FIGURES, FoldResult
from engine.spec.folds import Folds
from engine.spec.resources import Resources
from engine.spec.study import Configuration, FirstStage, read_record
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import Job, make_job
from engine.training.numerics import Numerics
from engine.training.weight_files import Digests

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
    weights: Digests = field(default_factory=dict)
    gpu: float = 0.0  # what a fold holds of one

    def job(self, task: Task, trained: Configuration | FirstStage, parts: int = 1) -> Job:
        job = make_job(
            task,
            trained,
            self.manifest.fold(task.fold),
            self.pack,
            self.folds,
            self.seed,
            self.numerics,
            self.objective,
            self.resources.keep,
            self.weights,
        )
        return job if parts == 1 else replace(job, parts=parts)


class FoldTrainable(tune.Trainable):
    """Tune's config is {"key", "fold", "record", "heard", "parts", "alone"}; a step is an epoch, the last one
    its end. `heard`: how many of its epochs the journal has.
    The record is one text: Tune copies and flattens each leaf of a config again and again, in its driver."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:  # type: ignore[override]
        self.shared = shared
        self.busy = self.leaving = False
        self.go = signal.signal(signal.SIGTERM, self.told_to_go)
        self.begin(config)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Whatever goes wrong here is told like an error of training: a worker that died of it would be taken
        for one that was lost, and its fold tried again and again."""
        self.task = Task(config["key"], config["fold"])
        self.parts, self.alone, self.heard = config["parts"], config["alone"], config["heard"]
        self.epochs: Generator[dict[str, Any], None, Any] | None = None
        self.unfit: dict[str, Any] | None = None
        try:
            self.prepare(config)
        except Exception as error:
            self.unfit = failed(error)

    def prepare(self, config: Mapping[str, Any]) -> None:
        self.storage = open_storage(self.shared.location)
        self.spec = read_record(json.loads(config["record"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.leave_if_told()
        self.begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.leave_if_told()
        self.busy = True
        try:
            return self.epoch()
        finally:
            self.busy = False

    def epoch(self) -> dict[str, Any]:
        if self.unfit is not None:
            return self.unfit
        try:
            if self.epochs is None:
                self.epochs = self.start()
            row = dict(next(self.epochs))
            return {"figures": row.pop("figures", {}), "row": row}
        except StopIteration as end:
            return ended(end.value)
        except Exception as error:
            told = failed(error)
        self.epochs = None
        free_memory()
        return told

    def start(self) -> Generator[dict[str, Any], None, Any]:
        from engine.training.memory import hold_to
        from engine.training.run_task import train_task

        hold_to(1.0 if self.alone else self.shared.gpu)
        job = self.shared.job(self.task, self.spec, self.parts)
        return train_task(job, self.shared.pack, self.storage, self.heard)

    def cleanup(self) -> None:
        if self.epochs is not None:
            self.epochs.close()
            self.epochs = None

    def told_to_go(self, number: int, frame: Any) -> None:
        self.leaving = True
        if not self.busy:
            self.leave_if_told()

    def leave_if_told(self) -> None:
        """By Ray's own way out, which tells the driver that this worker is gone."""
        if self.leaving and callable(self.go):
            self.go(signal.SIGTERM, None)


def ended(result: FoldResult) -> dict[str, Any]:
    """Not marked `done`, or Tune would stop the trial without asking the scheduler."""
    figures = {name: getattr(result, name) for name in FIGURES}
    values = None if result.score is None else list(result.values)
    why = {"note": result.error} if result.error else {}
    return {"end": {"status": result.status, "score": result.score, "values": values, **figures, **why}}


def failed(error: Exception) -> dict[str, Any]:
    """The traceback travels as text: an exception may not be picklable, and the worker stays warm."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/engine/" in frame.filename] or frames
    places = dict.fromkeys(f"{frame.filename}:{frame.lineno}" for frame in (own[-1], frames[-1]))
    signature = f"{type(error).__name__} at {', called at '.join(reversed(places))}"
    told = {"kind": kind_of(error), "signature": signature, "error": traceback.format_exc()}
    return {"end": {"status": "failed", "message": str(error), **told}}


def free_memory() -> None:
    """What a fold that failed has left: its tensors, and what torch keeps of a GPU for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
