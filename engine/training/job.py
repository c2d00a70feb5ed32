"""All that a worker must know to train one key on one fold: plain data that travels through Ray."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.data.cases import Pack
from engine.folds import Fold
from engine.spec.study import Configuration, canonical
from engine.task import Task
from engine.training.numerics import Numerics
from engine.training.seeds import derive


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

    @property
    def configuration(self) -> Configuration:
        return Configuration.model_validate(self.record)

    @property
    def own_seed(self) -> int:
        return derive(self.seed, self.task.key, self.task.fold)

    @property
    def address(self) -> str:
        """What has this address has been trained already, in whatever run."""
        parts = {
            "configuration": self.record,
            "data": self.fingerprint,
            "fold": [self.fold.train, self.fold.validation, self.fold.test],
            "seed": self.own_seed,
            "numerics": self.numerics.record(),
            "objective": self.objective,
        }
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
