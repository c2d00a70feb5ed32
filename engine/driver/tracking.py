"""Sends what a search reports to TensorBoard, MLflow or W&B as well: a configuration's run holds its folds'.

All files go below the run folder's `tracking/`. A tracker is a convenience: one that fails is left out from
then on, with a line in run.log, and the study goes on.
"""

import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from engine.conductor import Trained
from engine.driver.trackers import BACKENDS
from engine.errors import SonotuneError
from engine.spec.study import Tracker
from engine.storage import Storage
from engine.task import Task

log = logging.getLogger("sonotune")

FOLDER = "tracking"
RUN = f"{FOLDER}/run"
FAILED = "tracking: %s failed and is left out from now on"
MODULES: Mapping[Tracker, str] = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


class Listener(Protocol):
    """Hears of each epoch and each end of a fold, in the order in which they happen."""

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None: ...

    def end(self, task: Task, status: str, score: float | None) -> None: ...


class Backend(Listener, Protocol):
    def close(self) -> None: ...


class Tracking:
    """The trackers of a study, each of which may fail without harm."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.backends = dict(backends)

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        self._each(lambda backend: backend.epoch(task, row))

    def end(self, task: Task, status: str, score: float | None) -> None:
        self._each(lambda backend: backend.end(task, status, score))

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, *_: object) -> None:
        self._each(lambda backend: backend.close())

    def _each(self, action: Callable[[Backend], None]) -> None:
        for name, backend in tuple(self.backends.items()):
            try:
                action(backend)
            except Exception:
                log.warning(FAILED, name, exc_info=True)
                with suppress(Exception):
                    self.backends.pop(name).close()


def require(trackers: tuple[Tracker, ...], storage: Storage) -> None:
    """Refused before anything is written: a missing package, a run folder where trackers cannot write."""
    if trackers and storage.local() is None:
        raise SonotuneError(
            f"tracking: {', '.join(trackers)} write files, but {storage.location} is no folder on a disk; "
            "leave tracking out, or choose a local --run"
        )
    check_installed(trackers)


def check_installed(trackers: tuple[Tracker, ...]) -> None:
    for name in trackers:
        try:
            importlib.import_module(MODULES[name])
        except ImportError as error:
            raise SonotuneError(
                f"tracking: {name} needs the package {MODULES[name]} ({error}); "
                "install it: pip install 'sonotune[tracking]'"
            ) from error


def start(
    trackers: tuple[Tracker, ...],
    storage: Storage,
    study: str,
    configuration_of: Callable[[Task], Trained],
    tell: Callable[[str], None] = lambda sentence: None,
) -> Tracking:
    """One that cannot even begin, its server being away, is told to the user, who still looks on."""
    require(trackers, storage)
    root = (storage.local() or Path()) / FOLDER
    run = _name_of_run(storage) if trackers else ""
    begun: dict[str, Backend] = {}
    for name in trackers:
        try:
            begun[name] = BACKENDS[name](root / name, study, run, configuration_of)
        except Exception:
            log.warning(FAILED, name, exc_info=True)
            tell(f"{FAILED % name}; run.log says why")
    return Tracking(begun)


def _name_of_run(storage: Storage) -> str:
    """Made up once; it goes with the folder wherever that is moved."""
    if not storage.exists(RUN):
        storage.write(RUN, f"{uuid4().hex[:12]}\n".encode())
    return storage.read(RUN).decode().strip()
