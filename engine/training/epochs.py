"""One fold's training, epoch by epoch, and what of it lies on storage between two of them."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from engine import objective
from engine.data.cases import Pack
from engine.data.preprocess import training_scale
from engine.metrics.fold import fold_metrics
from engine.results import RunPaths
from engine.spec.study import Configuration
from engine.storage import Storage
from engine.training import checkpoint
from engine.training.batches import Batches
from engine.training.evaluate import EVALUATION_BATCH, Outputs, outputs, score_cases
from engine.training.job import Job, Parts
from engine.training.masks import blindness, read_masks, shown_masks
from engine.training.measure import forget_peak
from engine.training.network import Network, build_network
from engine.training.prepared import prepared
from engine.training.seeds import derive

EpochRow = dict[str, Any]


class Diverged(Exception):
    """A loss was not finite, or an answer no number; the fold ends here and the study goes on."""


class BestLost(Exception):
    """The best epoch's network is damaged, gone, or that of another epoch than the last checkpoint says."""


class FoldRun:
    """The state of one fold's training between two epochs."""

    def __init__(self, job: Job, pack: Pack, storage: Storage, masks: np.ndarray | None = None) -> None:
        """`masks` stand for those of a first stage that is not trained, for measuring."""
        torch.set_num_threads(job.numerics.threads)
        forget_peak(job.numerics.device)
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
        began, number = time.perf_counter(), self.epoch + 1
        torch.manual_seed(derive(self.job.own_seed, "epoch", number))
        lr = self.network.schedule.start(number)
        terms, images = self._train_epoch(number)
        rate = images / (time.perf_counter() - began)
        figures = self._validate()
        self.network.objective.end_epoch(terms)  # after validation, which has the weights of this epoch
        values = self._values(figures)
        score = objective.scalar(values)
        improved = self._reached(number, score, values)
        stage = "main" if self.job.two_stage is None else "classify"
        row: EpochRow = {"stage": stage, "epoch": number, "lr": lr, "images_per_second": rate}
        row |= {"score": score, "best": self.best, "values": values}
        row |= {f"train_{name}": value for name, value in terms.items()} | figures
        row["seconds"] = time.perf_counter() - began
        self.seconds += row["seconds"]
        self.rows.append(row)
        self._save(improved)
        return row

    def _reached(self, number: int, score: float, values: list[float]) -> bool:
        """Whether this epoch is better than all before it."""
        self.epoch = number
        improved = score > self.best
        if improved:
            self.best, self.best_epoch, self.values = score, number, values
        self.network.schedule.end(score)
        return improved

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
        return means, images

    def _validate(self) -> dict[str, float]:
        found = self.outputs(self.parts.validation, self.pack)
        figures = fold_metrics(self.table(found, surface=False), self.pack.classes)
        losses = {f"validation_{name}_loss": value for name, value in found.losses.items()}
        return losses | {f"validation_{name}": value for name, value in figures.items()}

    def outputs(self, rows: np.ndarray, pack: Pack | None = None) -> Outputs:
        """A second stage has no masks of its own: those of the first one go with what it says."""
        found = outputs(self.network, self.images, rows, pack, max(1, EVALUATION_BATCH // self.job.parts))
        if lost := found.lost:
            raise Diverged(f"the network's probabilities were not numbers for {lost} of {len(rows)} cases")
        return found if self.masks is None else replace(found, masks=self.masks[rows])

    def _values(self, row: dict[str, float]) -> list[float]:
        figures = {name.removeprefix("validation_"): value for name, value in row.items()}
        return objective.values(figures, self.job.objective, self.configuration.predict.refine)

    def table(self, found: Outputs, surface: bool) -> pa.Table:
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

    def go_to_best(self) -> None:
        """Without the network that the score speaks of there is no result; see `run_task.py`."""
        if self.best_epoch == 0:  # no epoch had a score
            return
        best = checkpoint.load(self.storage, self._path("best"), self.job.numerics.device)
        if best is None or best["epoch"] != self.best_epoch:
            raise BestLost(f"the checkpoint of {self.job.task.folder}'s best epoch {self.best_epoch} is lost")
        self.network.model.load_state_dict(best["model"])

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
