"""A small network on one fold of a small study, trained without Ray, and what it leaves behind."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from engine.data.cases import Pack
from engine.folds.make import make_folds
from engine.objective import objectives
from engine.results import FoldResult, RunPaths, read_table
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.task import Task
from engine.training.fold import train_fold
from engine.training.job import Job
from engine.training.numerics import Numerics
from tests.run_folder import TIMES
from tests.trained import advance

DOCUMENT: dict[str, Any] = {
    "study": "training",
    "data": {"source": "phantom", "count": 48, "size": 32},
    "folds": {"k": 2},
    "model": {"name": "unet_mtl", "width": 4, "depth": 2, "dropout": 0.1},
    "train": {"epochs": 4, "batch": 8, "lr": 5e-3, "schedule": "plateau", "plateau_patience": 0},
}


STILL: dict[str, Any] = {
    "model": {"name": "unet_mtl", "width": 4, "depth": 2, "norm": "instance"},
    "augment": {"preset": "none"},
}  # no chance and no running means: where nothing is learned, every epoch is like the one before


def job_of(
    pack: Pack, keep: str = "best", sections: Mapping[str, Any] = MappingProxyType({}), **train: Any
) -> Job:
    """`sections` are laid over the document's own, and `train` into its."""
    study = study_of({**DOCUMENT, **sections, "train": DOCUMENT["train"] | train}, "test")
    configuration = study.configuration({})
    fold = make_folds(pack, study.fixed.folds).folds[0]
    task = Task(configuration.config_id, fold.name)
    numerics = Numerics("cpu", "off", 1)
    wanted = objectives(study.fixed.search)
    return Job(task, configuration.record(), fold, pack.fingerprint, 0, numerics, wanted, keep)


def run(job: Job, pack: Pack, folder: Path, epochs: int | None = None) -> FoldResult | None:
    """To the end, or until `epochs` have been yielded and the worker is gone."""
    return advance(train_fold(job, pack, LocalStorage(folder)), epochs)


def table(job: Job, folder: Path, name: str) -> pa.Table:
    return read_table(LocalStorage(folder), f"{RunPaths.result(job.task)}/{name}.parquet")


def digits(job: Job, folder: Path) -> str:
    """Every number of every epoch and case but the times; as text, since NaN is not equal to itself."""
    epochs = table(job, folder, "epochs").drop_columns(TIMES)
    parts = (epochs, table(job, folder, "cases_validation"), table(job, folder, "cases_test"))
    return repr([part.to_pylist() for part in parts])
