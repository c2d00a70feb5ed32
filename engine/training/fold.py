"""Trains one configuration on one fold: an epoch's row after each epoch, a result at the end.

Knows nothing of Ray: whoever runs it pulls one epoch after the other and may stop pulling at any time; the
checkpoint of every epoch it yielded lies on storage by then, so that stopping loses nothing.
"""

import json
import math
import os
import socket
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from engine import objective
from engine.data.cases import Pack
from engine.data.preprocess import training_scale
from engine.metrics.fold import fold_metrics
from engine.results import FoldResult, RunPaths, parquet_bytes, read_result, write_result
from engine.spec.study import Configuration
from engine.storage import Storage
from engine.task import Task
from engine.training import checkpoint, gallery
from engine.training.batches import Batches
from engine.training.evaluate import EVALUATION_BATCH, Outputs, outputs, score_cases
from engine.training.job import Job, Parts
from engine.training.masks import blindness, read_masks, shown_masks
from engine.training.measure import Costs, costs_of, hardware
from engine.training.network import Network, build_network
from engine.training.prepared import prepared
from engine.training.seeds import derive

EpochRow = dict[str, Any]


class Diverged(Exception):
    """A loss was not finite; the fold ends here and the study goes on."""


class BestLost(Exception):
    """The best epoch's network is damaged, gone, or that of another epoch than the last checkpoint says."""


def train_fold(job: Job, pack: Pack, storage: Storage) -> Generator[EpochRow, None, FoldResult]:
    """Yields the row of each epoch trained now; returns the result, which has been written by then."""
    run = FoldRun(job, pack, storage)
    if run.blind:
        return run.end("failed", error=run.blind)
    try:
        while run.epoch < run.train.epochs:
            yield run.next_epoch()
        return run.finish()
    except Diverged as error:
        return run.end("diverged", error=str(error))


class FoldRun:
    """The state of one fold's training between two epochs."""

    def __init__(self, job: Job, pack: Pack, storage: Storage, masks: np.ndarray | None = None) -> None:
        """`masks` stand for those of a first stage that is not trained, for measuring."""
        torch.set_num_threads(job.numerics.threads)
        self.job, self.pack, self.storage = job, pack, storage
        self.configuration = in_parts(job.configuration, job.parts)
        self.train = self.configuration.train
        self.parts = Parts.of(job.fold, pack)
        self.masks = masks if masks is not None or job.two_stage is None else self._first_masks()
        self.blind = ""
        self.images = self._prepared()
        self.scale = training_scale(pack.images, self.configuration.preprocess, self.parts.train)
        self.started = time.time()
        self.epoch, self.best_epoch, self.best, self.seconds = 0, 0, -math.inf, 0.0
        self.values: list[float] = []
        self.micro_batches = self.train.micro_batches
        self.rows: list[EpochRow] = []
        torch.manual_seed(job.own_seed)
        self.network = self._network()
        self.batches = self._batches()
        self._resume()

    def _first_masks(self) -> np.ndarray:
        """Lesion probabilities of all cases, as the first stage of this fold has stored them."""
        assert self.job.first_stage is not None
        return read_masks(self.storage, self.job.first_stage, self.job.task.fold, self.pack)

    def _prepared(self) -> np.ndarray:
        """[N, H, W, C]; a second stage has the first one's mask as a last channel, to be moved along."""
        images = prepared(self.pack, self.configuration.preprocess, self.parts.train)
        if self.masks is None or self.job.two_stage is None:
            return images
        threshold = self.configuration.predict.threshold
        shown = shown_masks(self.masks, self.job.two_stage, threshold, self.parts, self.pack)
        self.blind = blindness(shown, threshold, self.parts, self.job.task)
        return np.concatenate([images, shown[..., None].astype(np.float32)], axis=3)

    def _network(self) -> Network:
        counts = np.bincount(self.pack.labels[self.parts.train], minlength=len(self.pack.classes))
        size, channels = self.images.shape[1], self.configuration.preprocess.channels
        two_stage = self.job.two_stage
        return build_network(self.configuration, channels, counts, size, self.job.numerics, two_stage)

    def _batches(self) -> Batches:
        return Batches(
            self.images,
            self.pack.masks,
            self.pack.labels,
            self.parts.train,
            augment=self.configuration.augment,
            batch=self.train.batch,
            seed=self.job.own_seed,
            oversample=self.train.oversample,
            rounding=self.train.oversample_rounding,
            classes=len(self.pack.classes),
        )

    def next_epoch(self) -> EpochRow:
        began = time.perf_counter()
        number = self.epoch + 1
        torch.manual_seed(derive(self.job.own_seed, "epoch", number))
        lr = self.network.schedule.start(number)
        terms, images = self._train_epoch(number)
        spent = time.perf_counter() - began
        figures = self._validate()
        values = self._values(figures)
        score = objective.scalar(values)
        self.epoch = number
        improved = score > self.best
        if improved:
            self.best, self.best_epoch, self.values = score, number, values
        self.network.schedule.end(score)
        stage = "main" if self.job.two_stage is None else "classify"
        row: EpochRow = {"stage": stage, "epoch": number, "lr": lr, "images_per_second": images / spent}
        row |= {"score": score, "best": self.best, "values": values} | terms | figures
        spent = time.perf_counter() - began
        row["seconds"] = spent
        self.seconds += spent
        self.rows.append(row)
        self._save(improved)
        return row

    def _train_epoch(self, number: int) -> tuple[dict[str, float], int]:
        self.network.model.train()
        steps, images = [], 0
        for batch in self.batches.epoch(number):
            steps.append(self.network.step(batch, number))
            images += len(batch.labels)
        means = {name: float(torch.stack([s[name] for s in steps]).mean()) for name in steps[0]}
        if not math.isfinite(means["total"]):
            step = next(i for i, s in enumerate(steps, 1) if not bool(torch.isfinite(s["total"])))
            raise Diverged(f"the training loss was not finite at epoch {number}, step {step}")
        self.network.objective.end_epoch(means)
        return {f"train_{name}": value for name, value in means.items()}, images

    def _validate(self) -> dict[str, float]:
        found = self.outputs(self.parts.validation, self.pack)
        figures = fold_metrics(self._table(found, surface=False), self.pack.classes)
        losses = {f"validation_{name}_loss": value for name, value in found.losses.items()}
        return losses | {f"validation_{name}": value for name, value in figures.items()}

    def outputs(self, rows: np.ndarray, pack: Pack | None = None) -> Outputs:
        """A second stage has no masks of its own: those of the first one go with what it says."""
        found = outputs(self.network, self.images, rows, pack, max(1, EVALUATION_BATCH // self.job.parts))
        return found if self.masks is None else replace(found, masks=self.masks[rows])

    def _values(self, row: dict[str, float]) -> list[float]:
        figures = {name.removeprefix("validation_"): value for name, value in row.items()}
        return objective.values(figures, self.job.objective, self.configuration.predict.refine)

    def _table(self, found: Outputs, surface: bool) -> pa.Table:
        return score_cases(self.pack, found, self.configuration.predict.threshold, surface)

    def _path(self, name: str) -> str:
        return f"{RunPaths.checkpoint(self.job.task)}/{name}.pt"

    def _save(self, improved: bool) -> None:
        """The best before the last: whoever resumes from the last finds the best it speaks of. The rows go
        in as one text, as torch would take thousands of numbers one by one."""
        if improved:
            state = {"model": self.network.model.state_dict(), "epoch": self.epoch, "scale": self.scale}
            checkpoint.save(self.storage, self._path("best"), state)
        progress = {name: getattr(self, name) for name in PROGRESS} | {"address": self.job.address}
        state = {"network": self.network.state_dict(), "progress": json.dumps(progress)}
        checkpoint.save(self.storage, self._path("last"), state)

    def _resume(self) -> None:
        state = checkpoint.load(self.storage, self._path("last"), self.job.numerics.device)
        progress = {} if state is None else json.loads(state["progress"])
        if state is None or progress.pop("address") != self.job.address:
            return
        self.network.load_state_dict(state["network"])
        for name, value in progress.items():
            setattr(self, name, value)
        self.micro_batches = max(self.micro_batches, self.train.micro_batches)

    def finish(self) -> FoldResult:
        """The best epoch's network scores validation once more and test for the only time."""
        self.go_to_best()
        figures, files = self.scored(
            {p: self.outputs(getattr(self.parts, p)) for p in ("validation", "test")}
        )
        return self.end("complete", figures, files)

    def go_to_best(self) -> None:
        """Without the network that the score speaks of there is no result; see `run_task.py`."""
        if self.best_epoch == 0:  # no epoch had a score
            return
        best = checkpoint.load(self.storage, self._path("best"), self.job.numerics.device)
        if best is None or best["epoch"] != self.best_epoch:
            raise BestLost(f"the checkpoint of {self.job.task.folder}'s best epoch {self.best_epoch} is lost")
        self.network.model.load_state_dict(best["model"])

    def scored(self, found: dict[str, Outputs]) -> tuple[dict[str, dict[str, float]], dict[str, bytes]]:
        """The figures of each part, and the files that hold its cases."""
        tables = {part: self._table(each, surface=True) for part, each in found.items()}
        files = {f"cases_{part}.parquet": parquet_bytes(table) for part, table in tables.items()}
        files |= gallery.files(self.network, self.pack, self.images, found["test"], tables["test"])
        return {part: fold_metrics(table, self.pack.classes) for part, table in tables.items()}, files

    def end(
        self,
        status: str,
        figures: dict[str, dict[str, float]] | None = None,
        files: dict[str, bytes] | None = None,
        error: str = "",
    ) -> FoldResult:
        result = self.result(status, figures or {}, error)
        epochs = {"epochs.parquet": parquet_bytes(pa.Table.from_pylist(self.rows))}
        write_result(self.storage, self.job.task, result, epochs | (files or {}))
        self.tidy()
        return result

    def result(self, status: str, figures: dict[str, dict[str, float]], error: str = "") -> FoldResult:
        costs = self._costs() if status == "complete" else Costs()
        return FoldResult(
            key=self.job.task.key,
            fold=self.job.task.fold,
            status=status,
            config=self.job.record,
            classes=self.pack.classes,
            address=self.job.address,
            best_epoch=self.best_epoch,
            epochs=self.epoch,
            score=self.best if self.rows else None,
            values=self.values,
            train_cases=len(self.parts.train),
            test_cases=len(self.parts.test),
            seconds=self.seconds,
            numerics=self.job.numerics.record(),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            started=self.started,
            warnings=warnings_of(self.configuration) + self._split_warnings(),
            micro_batches=self.micro_batches,
            error=error,
            validation=figures.get("validation", {}),
            test=figures.get("test", {}),
            parameters=costs.parameters,
            flops=costs.flops,
            latency_ms=costs.latency_ms,
            peak_memory_mb=costs.peak_memory_mb,
            hardware=hardware(self.network.device),
        )

    def _costs(self) -> Costs:
        """Of two stages both: it takes the two to say anything of an image."""
        own = costs_of(self.network, self.images)
        stage = self.job.first_stage
        first = None if stage is None else read_result(self.storage, Task(stage.key, self.job.task.fold))
        return own if first is None else own.beside(first)

    def _split_warnings(self) -> list[str]:
        asked = self.job.configuration.train.micro_batches
        if self.micro_batches <= asked:
            return []
        return [f"memory ran out: batches went through in {self.micro_batches} parts, not in {asked}"]

    def tidy(self) -> None:
        """What is kept of a finished fold's checkpoints is bounded by the spec."""
        if self.job.keep != "all":
            self.storage.delete(self._path("last"))
        if self.job.keep == "none":
            self.storage.delete(self._path("best"))


PROGRESS = ("epoch", "best_epoch", "best", "values", "seconds", "rows", "micro_batches")


def in_parts(configuration: Configuration, parts: int) -> Configuration:
    """The same optimizer steps from more, smaller parts of each batch."""
    train = configuration.train
    more = {"micro_batches": min(train.batch, train.micro_batches * parts)} if parts > 1 else {}
    return configuration.model_copy(update={"train": train.model_copy(update=more)})


def warnings_of(configuration: Configuration) -> list[str]:
    """What a reader of the result must know of how it was trained."""
    loss = configuration.loss
    if loss.gamma > 0 and loss.lossnet.weights == "none":
        return [f"the feature loss (gamma={loss.gamma:g}) compared random VGG filters, not pretrained ones"]
    return []
