"""A small two-stage study, its tasks by hand, and what they leave behind: for the tests of two stages."""

from pathlib import Path
from typing import Any

from engine.data.cases import Pack
from engine.folds.make import make_folds
from engine.objective import objectives
from engine.results import FoldResult, RunPaths, read_table
from engine.spec.load import study_of
from engine.spec.study import Configuration, FirstStage, Study
from engine.storage import LocalStorage
from engine.task import Task
from engine.training.job import Job, make_job
from engine.training.numerics import Numerics
from engine.training.run_task import train_task
from tests.run_folder import TIMES
from tests.trained import advance

SEGMENTER = {"name": "unet_mtl", "width": 4, "depth": 2, "loss": {"segmentation": "dice_ce"},
             "train": {"epochs": 2, "batch": 8, "lr": 1e-2}}  # fmt: skip
CLASSIFIER = {"name": "unet_mtl", "width": 4, "depth": 2, "train": {"epochs": 2, "batch": 8, "lr": 1e-3}}
TWO: dict[str, Any] = {"segment": SEGMENTER, "classify": CLASSIFIER, "inner_folds": 2}


def document(**changes: Any) -> dict[str, Any]:
    """`changes` of the two-stage section."""
    return {
        "study": "two-stage",
        "data": {"source": "phantom", "count": 48, "size": 32},
        "folds": {"k": 2},
        "model": {"two_stage": TWO | changes},
        "predict": {"threshold": 0.4},
    }


def study(**changes: Any) -> Study:
    return study_of(document(**changes), "test")


def configuration(**changes: Any) -> Configuration:
    return study(**changes).configuration({})


def job_of(spec: Configuration | FirstStage, pack: Pack) -> Job:
    fixed = study().fixed
    fold = make_folds(pack, fixed.folds).folds[0]
    key = spec.key if isinstance(spec, FirstStage) else spec.config_id
    goals = objectives(fixed.search)
    return make_job(
        Task(key, fold.name),
        spec,
        fold,
        pack,
        fixed.folds,
        0,
        Numerics("cpu", "off", 1),
        goals,
        "best",
    )


def first_of(spec: Configuration) -> FirstStage:
    assert spec.first_stage is not None
    return spec.first_stage


def run(job: Job, pack: Pack, folder: Path, epochs: int | None = None) -> FoldResult | None:
    """To the end, or until `epochs` have been yielded and the worker is gone."""
    return advance(train_task(job, pack, LocalStorage(folder)), epochs)


def both(folder: Path, pack: Pack, **changes: Any) -> tuple[Job, Job]:
    spec = configuration(**changes)
    jobs = job_of(first_of(spec), pack), job_of(spec, pack)
    for job in jobs:
        run(job, pack, folder)
    return jobs


def rows_of(job: Job, folder: Path, name: str) -> list[dict[str, Any]]:
    table = read_table(LocalStorage(folder), f"{RunPaths.result(job.task)}/{name}.parquet")
    return table.drop_columns([c for c in TIMES if c in table.column_names]).to_pylist()
