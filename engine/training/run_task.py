"""One task of any kind: a configuration on a fold, or a first stage that several configurations share."""

import logging
from collections.abc import Generator
from typing import Any

from engine.data.cases import Pack
from engine.results import FoldResult, RunPaths
from engine.spec.study import FirstStage
from engine.storage import Storage
from engine.training.epochs import BestLost
from engine.training.fold import train_fold
from engine.training.job import Job
from engine.training.segmenters import train_segmenters

log = logging.getLogger("sonotune")


def train_task(
    job: Job, pack: Pack, storage: Storage, heard: int | None = None
) -> Generator[dict[str, Any], None, FoldResult]:
    """Yields the row of each epoch trained now, and before them those of earlier ones of which only `heard`
    were ever heard of; returns the result, which has been written by then.

    A fold that has lost its best epoch's network is trained again from its start: scored with another one,
    its figures would not be those of the epoch that they name.
    """
    try:
        return (yield from _train(job, pack, storage, heard))
    except BestLost as lost:
        log.warning("%s; its fold starts afresh", lost)
        storage.delete(RunPaths.checkpoint(job.task))
    return (yield from _train(job, pack, storage, heard))


def _train(
    job: Job, pack: Pack, storage: Storage, heard: int | None
) -> Generator[dict[str, Any], None, FoldResult]:
    if isinstance(job.spec, FirstStage):
        return (yield from train_segmenters(job, job.spec, pack, storage, heard))
    return (yield from train_fold(job, pack, storage, heard))
