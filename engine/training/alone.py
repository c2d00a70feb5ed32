"""One configuration on one fold, in this process: for debugging, and for measuring."""

from collections.abc import Iterator
from typing import Any

from engine.data.load import default_cache, load
from engine.folds import make_folds
from engine.objective import objectives
from engine.preflight import check_study
from engine.spec.study import Study
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import Job
from engine.training.numerics import resolve


def train_alone(study: Study, location: str, fold: str) -> Iterator[dict[str, Any]]:
    """The first end of every dimension, or what `search.first` starts with."""
    from engine.training.fold import train_fold

    fixed = study.fixed
    pack = load(fixed.data, default_cache())
    manifest = make_folds(pack, fixed.folds)
    check_study(study, pack)
    configuration = study.configuration(study.space.base(study.first[0] if study.first else {}))
    job = Job(
        Task(configuration.config_id, fold),
        configuration.record(),
        manifest.fold(fold),
        pack.fingerprint,
        fixed.seed,
        resolve(fixed.resources),
        objectives(fixed.search),
        fixed.resources.keep,
    )
    yield from train_fold(job, pack, open_storage(location))
