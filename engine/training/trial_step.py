"""One optimizer step of a configuration, timed: what a search of many such steps will cost."""

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.data.cases import Pack
from engine.spec.study import Configuration
from engine.storage import LocalStorage
from engine.training.epochs import Diverged, FoldRun
from engine.training.evaluate import EVALUATION_BATCH
from engine.training.job import Job
from engine.training.measure import Costs, costs_of


@dataclass(frozen=True)
class Measured:
    configuration: Configuration
    costs: Costs
    step_seconds: float
    steps: int  # of an epoch
    validated: int  # cases, each epoch
    first_seconds: float = 0.0  # of the first stage that this one needs, on one fold
    first_epochs: int = 0

    @property
    def epochs(self) -> int:
        """Of both stages: a budget of epochs counts those of either."""
        return self.first_epochs + self.configuration.train.epochs

    @property
    def fold_seconds(self) -> float:
        """Training steps and the validation of every epoch; loading and writing are small beside them."""
        epoch = self.steps * self.step_seconds + self.validated * self.costs.latency_ms / 1000
        return self.first_seconds + self.configuration.train.epochs * epoch


def measure(job: Job, pack: Pack) -> Measured:
    """The first step warms up and is not timed; memory is that of this process at its highest, which may be
    that of a validation: it takes more images at a time than a small batch has."""
    with tempfile.TemporaryDirectory() as scratch:
        masks = None if job.two_stage is None else pack.masks.astype(np.float32)
        run = FoldRun(job, pack, LocalStorage(Path(scratch)), masks)
    batch = next(run.batches.epoch(1))
    run.network.model.train()
    for _ in range(2):
        began = time.perf_counter()
        terms = run.network.step(batch, 1)
        float(terms["total"])  # waits for the device
        seconds = time.perf_counter() - began
    with suppress(Diverged):  # a step too wide for its answers to be numbers has cost as much memory
        run.outputs(np.arange(len(run.images))[:EVALUATION_BATCH], pack)
    costs = costs_of(run.network, run.images)
    return Measured(job.configuration, costs, seconds, len(run.batches), len(run.parts.validation))
