"""Trains one configuration on one fold: an epoch's row after each epoch, a result at the end.

Knows nothing of Ray: whoever runs it pulls one epoch after the other and may stop pulling at any time; the
checkpoint of every epoch it yielded lies on storage by then, so that stopping loses nothing.
"""

import os
import socket
from collections.abc import Callable, Generator

import numpy as np
import pyarrow as pa

from engine.data.cases import Pack
from engine.metrics.fold import fold_metrics
from engine.results import FoldResult, parquet_bytes, read_result, write_result
from engine.spec.study import Configuration
from engine.storage import Storage
from engine.task import Task
from engine.training import gallery
from engine.training.epochs import Diverged, EpochRow, FoldRun
from engine.training.evaluate import Outputs
from engine.training.job import Job
from engine.training.measure import Costs, costs_of, counts_of, hardware
from engine.training.network import Network
from engine.words import plural


def train_fold(
    job: Job, pack: Pack, storage: Storage, heard: int | None = None
) -> Generator[EpochRow, None, FoldResult]:
    """Yields the row of each epoch trained now; returns the result, which has been written by then.

    Whoever pulled it before may have gone between an epoch's checkpoint and its row. With `heard` epochs
    known, the rows of all further ones come first: the best of them decides, and the first tells sizes.
    """
    run = FoldRun(job, pack, storage)
    if run.blind:
        return end(run, "failed", error=run.blind)
    try:
        for row in run.rows[run.epoch if heard is None else heard :]:
            yield told(run, row)
        while run.epoch < run.train.epochs:
            yield told(run, run.next_epoch())
        return finish(run)
    except Diverged as error:
        return end(run, "diverged", error=str(error))


def told(run: FoldRun, row: EpochRow) -> EpochRow:
    return row if row["epoch"] > 1 else row | {"figures": counts(run)}


def counts(run: FoldRun) -> dict[str, float]:
    """What bounds and picking rules ask that need not wait for the end: told beside the first epoch."""
    found = _costs(run, counts_of)
    return {"parameters": found.parameters, "flops": found.flops}


def finish(run: FoldRun) -> FoldResult:
    """The best epoch's network scores validation once more and test for the only time."""
    run.go_to_best()
    figures, files = scored(run, {p: run.outputs(getattr(run.parts, p)) for p in ("validation", "test")})
    return end(run, "complete", figures, files)


def scored(run: FoldRun, found: dict[str, Outputs]) -> tuple[dict[str, dict[str, float]], dict[str, bytes]]:
    """The figures of each part, and the files that hold its cases."""
    tables = {part: run.table(each, surface=True) for part, each in found.items()}
    files = {f"cases_{part}.parquet": parquet_bytes(table) for part, table in tables.items()}
    files |= gallery.files(run.network, run.pack, run.images, found["test"], tables["test"])
    return {part: fold_metrics(table, run.pack.classes) for part, table in tables.items()}, files


def end(
    run: FoldRun,
    status: str,
    figures: dict[str, dict[str, float]] | None = None,
    files: dict[str, bytes] | None = None,
    error: str = "",
) -> FoldResult:
    result = result_of(run, status, figures or {}, error)
    epochs = {"epochs.parquet": parquet_bytes(pa.Table.from_pylist(run.rows))}
    write_result(run.storage, run.job.task, result, epochs | (files or {}))
    run.tidy()
    return result


def result_of(run: FoldRun, status: str, figures: dict[str, dict[str, float]], error: str = "") -> FoldResult:
    costs = _costs(run, costs_of) if status == "complete" else Costs()
    return FoldResult(
        key=run.job.task.key,
        fold=run.job.task.fold,
        status=status,
        config=run.job.record,
        classes=run.pack.classes,
        address=run.job.address,
        best_epoch=run.best_epoch,
        epochs=run.epoch,
        score=run.best if run.rows else None,
        values=run.values,
        train_cases=len(run.parts.train),
        test_cases=len(run.parts.test),
        seconds=run.seconds,
        numerics=run.job.numerics.record(),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        started=run.started,
        warnings=warnings_of(run.configuration) + _split_warnings(run),
        micro_batches=run.micro_batches,
        error=error,
        validation=figures.get("validation", {}),
        test=figures.get("test", {}),
        parameters=costs.parameters,
        flops=costs.flops,
        latency_ms=costs.latency_ms,
        peak_memory_mb=costs.peak_memory_mb,
        hardware=hardware(run.network.device),
    )


def _split_warnings(run: FoldRun) -> list[str]:
    asked = run.job.configuration.train.micro_batches
    if run.micro_batches <= asked:
        return []
    return [f"memory ran out: batches went through in {run.micro_batches} parts, not in {asked}"]


def _costs(run: FoldRun, measured: Callable[[Network, np.ndarray], Costs]) -> Costs:
    """Of two stages both: it takes the two to say anything of an image."""
    own = measured(run.network, run.images)
    stage = run.job.first_stage
    first = None if stage is None else read_result(run.storage, Task(stage.key, run.job.task.fold))
    return own if first is None else own.beside(first)


def warnings_of(configuration: Configuration) -> list[str]:
    """What a reader of the result must know of how it was trained."""
    loss, train, found = configuration.loss, configuration.train, []
    if loss.gamma > 0 and loss.lossnet.weights == "none":
        found += [f"the feature loss (gamma={loss.gamma:g}) compared random VGG filters, not pretrained ones"]
    if train.warmup >= train.epochs:
        trained = plural(train.epochs, "epoch")
        found += [f"{trained} ended within the warmup of {train.warmup}: lr was never reached"]
    return found
