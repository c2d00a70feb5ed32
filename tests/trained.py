"""Training without Ray: a task as far as is asked for, and a finished run of one configuration on every fold,
of one stage or of two, with what its report says of it."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from engine import folder
from engine.data.load import load
from engine.folds.make import make_folds
from engine.objective import objectives
from engine.results import FoldResult
from engine.spec.load import study_of
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import make_job
from engine.training.numerics import Numerics
from engine.training.run_task import train_task


def advance(rows: Generator[Any, None, FoldResult], epochs: int | None = None) -> FoldResult | None:
    """To the end, or until `epochs` have been yielded and the worker is gone."""
    done = 0
    while epochs is None or done < epochs:
        try:
            next(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        done += 1
    rows.close()
    return None


def finished_run(place: Path, document: dict[str, Any]) -> Path:
    torch.set_num_threads(1)
    study = study_of(document, "test")
    fixed = study.fixed
    pack = load(fixed.data, place / "cache")
    manifest = make_folds(pack, fixed.folds)
    storage = open_storage(place / "run")
    numerics = Numerics("cpu", "off", 1)
    folder.begin(storage, study, manifest, folder.Head(pack.fingerprint, manifest.digest, {}), "test")
    configuration = study.configuration({})
    first, goals = configuration.first_stage, objectives(fixed.search)
    stages = [] if first is None else [(first.key, first)]
    for key, trained in [*stages, (configuration.config_id, configuration)]:
        for fold in manifest.folds:
            task = Task(key, fold.name)
            job = make_job(task, trained, fold, pack, fixed.folds, fixed.seed, numerics, goals, "best")
            advance(train_task(job, pack, storage))
    picked = {"config_id": configuration.config_id, "config": configuration.record()}
    storage.write("report/summary.json", json.dumps({"schema": 1, "picked": picked}).encode())
    return place / "run"
