"""One task of any kind: a configuration on a fold, or a first stage that several configurations share."""

from collections.abc import Generator
from typing import Any

from engine.data.cases import Pack
from engine.results import FoldResult
from engine.spec.study import FirstStage
from engine.storage import Storage
from engine.training.fold import train_fold
from engine.training.job import Job
from engine.training.segmenters import train_segmenters


def train_task(job: Job, pack: Pack, storage: Storage) -> Generator[dict[str, Any], None, FoldResult]:
    """Yields the row of each epoch trained now; returns the result, which has been written by then."""
    if isinstance(job.spec, FirstStage):
        return (yield from train_segmenters(job, job.spec, pack, storage))
    return (yield from train_fold(job, pack, storage))
