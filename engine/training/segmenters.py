"""The first of two stages on one fold: the segmenters, and the masks they leave for the second stage.

One segmenter is trained on the fold's whole training part; it draws the masks of validation and test cases.
With `masks: crossfit`, one more per inner fold draws the masks of the training cases that it has not seen.
Each of them chooses its epoch on the fold's validation part, never on the cases that it is going to draw.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from engine.data.cases import Pack
from engine.folds.manifest import Fold
from engine.results import FoldResult, RunPaths, parquet_bytes, write_result
from engine.spec.study import FirstStage
from engine.storage import Storage
from engine.task import Task
from engine.training.epochs import Diverged, EpochRow, FoldRun
from engine.training.evaluate import Outputs
from engine.training.fold import result_of, scored
from engine.training.job import Job
from engine.training.masks import FILE, mask_bytes, quantised, restored


def train_segmenters(
    job: Job, stage: FirstStage, pack: Pack, storage: Storage, heard: int | None = None
) -> Generator[EpochRow, None, FoldResult]:
    """Each is an ordinary fold run with checkpoints of its own, so whatever cuts this off costs an epoch."""
    drawn = np.zeros(pack.masks.shape, np.uint8)
    rows: list[EpochRow] = []
    for network, part in enumerate(parts_of(job, stage)):
        run = FoldRun(part, pack, storage)
        try:
            yield from _epochs(run, rows, network, heard)
            run.go_to_best()
            whole = part.task == job.task
            for cases in (run.parts.validation, run.parts.test) if whole else (run.parts.test,):
                drawn[cases] = quantised(_masks(run.outputs(cases)))
        except Diverged as error:
            return _end(job, run, rows, result_of(run, "diverged", {}, str(error)), {})
    return _finish(job, run, rows, drawn)


def parts_of(job: Job, stage: FirstStage) -> Iterator[Job]:
    """A job per segmenter, that of the whole training part last; what is held out stands as its test part."""
    for number, held in enumerate(job.inner):
        drawn = set(held)
        rest = tuple(case for case in job.fold.train if case not in drawn)
        name = f"{job.fold.name}/inner-{number}"
        fold = Fold(name, rest, job.fold.validation, held, job.fold.repeat, job.fold.fold, job.fold.outer)
        yield replace(job, task=Task(job.task.key, name), record=stage.trained.record(), fold=fold, inner=())
    yield replace(job, record=stage.trained.record(), inner=())


def _epochs(run: FoldRun, rows: list[EpochRow], network: int, heard: int | None) -> Iterator[EpochRow]:
    """Rows trained before a resume are kept, and told where nobody `heard` of them; epochs count through all
    segmenters."""
    before = len(rows)

    def told(row: Mapping[str, Any]) -> EpochRow:
        return dict(row) | {"stage": "segment", "network": network, "epoch": before + row["epoch"]}

    rows += map(told, run.rows)
    yield from rows[len(rows) if heard is None else max(before, heard) :]
    while run.epoch < run.train.epochs:
        rows.append(told(run.next_epoch()))
        yield rows[-1]


def _masks(found: Outputs) -> np.ndarray:
    assert found.masks is not None
    return found.masks


def _finish(job: Job, run: FoldRun, rows: list[EpochRow], drawn: np.ndarray) -> FoldResult:
    """`run` is that of the whole training part; its figures are of the masks as they are stored."""
    found = {part: run.outputs(getattr(run.parts, part)) for part in ("validation", "test")}
    found = {part: replace(each, masks=restored(drawn[each.rows])) for part, each in found.items()}
    figures, files = scored(run, found)
    own = np.concatenate([run.parts.train] * bool(job.inner) + [run.parts.validation, run.parts.test])
    files[FILE] = mask_bytes([run.pack.cases[row] for row in own], drawn[own])
    return _end(job, run, rows, result_of(run, "complete", figures), files)


def _end(
    job: Job, run: FoldRun, rows: list[EpochRow], result: FoldResult, files: Mapping[str, bytes]
) -> FoldResult:
    result = replace(result, key=job.task.key, fold=job.task.fold, stage=job.stage, config=job.record)
    seconds = sum(row["seconds"] for row in rows)
    result = replace(result, address=job.address, epochs=len(rows), seconds=seconds)
    epochs = {"epochs.parquet": parquet_bytes(pa.Table.from_pylist(rows))}
    write_result(run.storage, job.task, result, epochs | dict(files))
    for number in range(len(job.inner)):
        run.storage.delete(f"{RunPaths.checkpoint(job.task)}/inner-{number}")
    run.tidy()
    return result
