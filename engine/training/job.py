"""All that a worker must know to train one key on one fold: plain data that travels through Ray."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from engine.data.cases import Pack
from engine.folds.inner import inner_parts
from engine.folds.make import Fold
from engine.spec.folds import Folds
from engine.spec.study import Configuration, FirstStage, canonical, read_record
from engine.spec.two_stage import TwoStage
from engine.task import Task
from engine.training.numerics import Numerics
from engine.training.seeds import derive
from engine.training.weight_files import NO_FILES, Digests, paths_in

MASKS_ALONE: tuple[Mapping[str, float], ...] = ({"dice": 1.0},)  # what chooses a first stage's epoch


@dataclass(frozen=True)
class Job:
    task: Task
    record: Mapping[str, Any]  # the effective configuration, as plain data
    fold: Fold
    fingerprint: str  # of the packed data
    seed: int  # of the study
    numerics: Numerics
    objective: tuple[Mapping[str, float], ...]
    keep: str = "best"
    inner: tuple[tuple[str, ...], ...] = ()  # of two stages: the held-out cases of each inner fold
    parts: int = 1  # each batch in so many more parts, after memory ran out; no part of the address
    weights: Digests = field(default_factory=dict)  # of the files that the study's networks start from

    @cached_property
    def spec(self) -> Configuration | FirstStage:
        return read_record(self.record)

    @property
    def configuration(self) -> Configuration:
        """Of the network that is trained: of two stages, that of this task."""
        return self.spec.trained

    @property
    def two_stage(self) -> TwoStage | None:
        """Of a second stage."""
        return self.spec.model.two_stage if isinstance(self.spec, Configuration) else None

    @property
    def first_stage(self) -> FirstStage | None:
        """What this task builds on."""
        return self.spec.first_stage if isinstance(self.spec, Configuration) else None

    @property
    def stage(self) -> str:
        """Of its result: `segment` is a first stage, all else has a configuration's own figures."""
        return self.spec.stage if isinstance(self.spec, FirstStage) else "main"

    @property
    def own_seed(self) -> int:
        return derive(self.seed, self.task.key, self.task.fold)

    @property
    def address(self) -> str:
        """What has this address has been trained already, in whatever run."""
        parts = {
            "configuration": self.record,
            "data": self.fingerprint,
            "fold": self.fold.digest,
            "seed": self.own_seed,
            "numerics": self.numerics.record(),
            "objective": self.objective,
        }
        if self.inner:
            parts["inner"] = self.inner
        if self.weights and (starts := self.weights.keys() & set(paths_in(self.record))):
            parts["weights"] = {path: self.weights[path] for path in starts}
        return hashlib.sha256(canonical(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Parts:
    """Row numbers of a fold's three parts in the packed data."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, fold: Fold, pack: Pack) -> "Parts":
        row = {case: i for i, case in enumerate(pack.cases)}
        return cls(*(np.array([row[c] for c in part], dtype=np.int64)
                     for part in (fold.train, fold.validation, fold.test)))  # fmt: skip


def make_job(
    task: Task,
    trained: Configuration | FirstStage,
    fold: Fold,
    pack: Pack,
    folds: Folds,
    seed: int,
    numerics: Numerics,
    goals: tuple[Mapping[str, float], ...],
    keep: str,
    weights: Digests = NO_FILES,
) -> Job:
    """Inner folds are part of what a two-stage result depends on, so that its address knows them."""
    stage = trained if isinstance(trained, FirstStage) else trained.first_stage
    inner = () if stage is None else inner_parts(pack, folds, fold, stage.inner_folds)
    wanted = MASKS_ALONE if trained is stage else goals
    record = trained.record()
    return Job(task, record, fold, pack.fingerprint, seed, numerics, wanted, keep, inner, weights=weights)
