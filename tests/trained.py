"""A finished run, trained without Ray: one configuration on every fold, then what its report says of it."""

import json
from pathlib import Path
from typing import Any

import torch

from engine import folder
from engine.data.load import load
from engine.folds.make import make_folds
from engine.objective import objectives
from engine.spec.load import study_of
from engine.storage import open_storage
from engine.task import Task
from engine.training.fold import train_fold
from engine.training.job import Job
from engine.training.numerics import Numerics


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
    for fold in manifest.folds:
        task = Task(configuration.config_id, fold.name)
        goals = objectives(fixed.search)
        job = Job(task, configuration.record(), fold, pack.fingerprint, fixed.seed, numerics, goals)
        for _ in train_fold(job, pack, storage):
            pass
    picked = {"config_id": configuration.config_id, "config": configuration.record()}
    storage.write("report/summary.json", json.dumps({"schema": 1, "picked": picked}).encode())
    return place / "run"
