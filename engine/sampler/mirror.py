"""The search as Optuna sees it: `optuna.log`, a journal storage file that optuna-dashboard reads meanwhile.

Written only, never read by a search. A resumed run arrives at the same entries: those that the file has
already stay as they are, with their times, what it lacks is appended, and what says otherwise is replaced.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.errors import SonotuneError
from engine.results import RunPaths
from engine.sampler.learned import optuna_distribution
from engine.sampler.sampler import State
from engine.spec.distribution import Scalar
from engine.spec.search import Direction
from engine.spec.space import Space
from engine.storage import Storage, opened_in_place

if TYPE_CHECKING:
    from optuna.storages.journal._storage import JournalOperation

log = logging.getLogger("sonotune")

WORKER = "sonotune"
EVERY = 60.0  # seconds between two writes of the whole file where it cannot be appended to
TIMES = re.compile(rb'"datetime_(?:start|complete)":"[^"]*"')


class Mirror:
    def __init__(
        self,
        storage: Storage,
        study: str,
        space: Space,
        directions: Sequence[Direction],
        objectives: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        from optuna.distributions import distribution_to_json
        from optuna.storages.journal._storage import JournalOperation

        self.storage, self._clock = storage, clock
        self._operation = JournalOperation
        self._distributions = {d.name: optuna_distribution(d.distribution) for d in space.dimensions}
        self._as_json = {name: distribution_to_json(d) for name, d in self._distributions.items()}
        self._pending: list[bytes] = []
        self._sink = _sink(storage)
        self._written = -EVERY
        self._warned = False
        self._begin(study, directions, objectives)

    def _begin(self, study: str, directions: Sequence[Direction], objectives: Sequence[str]) -> None:
        sides = [2 if side == "maximize" else 1 for side in directions]
        self._add(self._operation.CREATE_STUDY, study_name=study, directions=sides)
        if objectives:
            names = {"study:metric_names": list(objectives)}
            self._add(self._operation.SET_STUDY_SYSTEM_ATTR, study_id=0, system_attr=names)

    def opened(self, number: int, params: Mapping[str, Scalar], config_id: str) -> None:
        """Numbers must come in order, from 0 on: Optuna counts by itself."""
        self._add(
            self._operation.CREATE_TRIAL,
            study_id=0,
            datetime_start=self._now(),
            state=0,
            params={
                name: self._distributions[name].to_internal_repr(value) for name, value in params.items()
            },
            distributions={name: self._as_json[name] for name in params},
            user_attrs={"config_id": config_id, "number": number},
            system_attrs={},
            intermediate_values={},
        )

    def scored(self, number: int, step: int, value: float) -> None:
        """An intermediate value: by convention step is how many folds have ended, value their mean score."""
        self._add(
            self._operation.SET_TRIAL_INTERMEDIATE_VALUE, trial_id=number, step=step, intermediate_value=value
        )

    def ended(
        self,
        number: int,
        state: State,
        values: Sequence[float] | None,
        excess: Mapping[str, float] | None = None,
    ) -> None:
        """Pruned shows as pruned, although the sampler was told a value for it; what lies above a bound is no
        best trial of Optuna's either."""
        for name, above in (excess or {}).items():
            told = {f"constraints:{name}": above}
            self._add(self._operation.SET_TRIAL_SYSTEM_ATTR, trial_id=number, system_attr=told)
        code = {"complete": 1, "pruned": 2, "failed": 3}[state]
        final = list(values) if values is not None and state != "failed" else None
        self._add(
            self._operation.SET_TRIAL_STATE_VALUES,
            trial_id=number,
            state=code if final or code != 1 else 3,
            values=final,
            datetime_complete=self._now(),
        )

    def flush(self) -> None:
        """A mirror that cannot be written is no reason to stop a search; the next flush tries again."""
        if not self._pending or (self._sink.costly and abs(self._clock() - self._written) < EVERY):
            return
        try:
            self._sink.add(b"".join(self._pending))
        except (OSError, SonotuneError) as error:
            return self._warn(error)
        self._pending.clear()
        self._written, self._warned = self._clock(), False

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning("%s could not be written, which is tried again: %s", RunPaths.optuna, error)
        self._warned = True

    def close(self) -> None:
        self._written = -EVERY
        self.flush()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")

    def _add(self, operation: "JournalOperation", **fields: Any) -> None:
        entry = {"op_code": int(operation), "worker_id": WORKER, **fields}
        self._pending.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


class _Appended:
    """On a disk. The first time it is compared with what an earlier driver has left."""

    costly = False

    def __init__(self, path: str) -> None:
        self.path = path
        self._size: int | None = None

    def add(self, data: bytes) -> None:
        if self._size is None:
            data = self._left_to_write(data)
        file = opened_in_place(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            before = os.fstat(file).st_size
            if os.write(file, data) < len(data):
                os.ftruncate(file, before)
                raise OSError("no room for the whole entry")
            self._size = before + len(data)
        finally:
            os.close(file)

    def _left_to_write(self, data: bytes) -> bytes:
        there = _content(self.path)
        whole = merged(there, data)
        if whole.startswith(there):
            return whole[len(there) :]
        aside = f"{self.path}.new"
        with open(aside, "wb", opener=opened_in_place) as file:
            file.write(whole)
        os.replace(aside, self.path)
        return b""


class _Whole:
    """On an object store the whole file is put again, now and then."""

    costly = True

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._all: bytes | None = None

    def add(self, data: bytes) -> None:
        whole = self._all + data if self._all is not None else merged(self._left(), data)
        self.storage.write(RunPaths.optuna, whole)
        self._all = whole

    def _left(self) -> bytes:
        try:
            return self.storage.read(RunPaths.optuna)
        except FileNotFoundError:
            return b""


def _sink(storage: Storage) -> _Appended | _Whole:
    if storage.local() is None:
        return _Whole(storage)
    return _Appended(os.path.join(storage.location, RunPaths.optuna))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def merged(there: bytes, data: bytes) -> bytes:
    """`data` with the times that its entries have already where an earlier driver wrote them."""
    old, new = there.splitlines(keepends=True), data.splitlines(keepends=True)
    same = [TIMES.sub(b"", was) == TIMES.sub(b"", now) for was, now in zip(old, new, strict=False)]
    kept = same.index(False) if False in same else len(same)
    return b"".join(old[:kept] + new[kept:])
