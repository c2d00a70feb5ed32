"""One configuration made ready to train: model, loss, optimizer and the step that moves them."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.losses.total import Objective, Terms, build_loss
from engine.models.contract import Prediction
from engine.models.deform import DeformConv
from engine.models.registry import build, traits
from engine.models.staged import build_second
from engine.spec.study import Configuration
from engine.spec.two_stage import TwoStage
from engine.training.batches import Batch
from engine.training.numerics import Numerics, Precision
from engine.training.optim import Schedule, build_optimizer


@dataclass
class Network:
    """The moving parts of one fold's training, saved and restored together."""

    model: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    configuration: Configuration
    device: str
    precision: Precision
    layout: torch.memory_format
    epoch: int = 1

    def autocast(self) -> AbstractContextManager[Any]:
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device, dtype, enabled=self.precision != "off")

    def place(self, images: Tensor) -> Tensor:
        return images.to(self.device, non_blocking=True, memory_format=self.layout)

    def predict(self, images: Tensor) -> Prediction:
        """In full precision whatever the network runs in: probabilities and losses are computed from it."""
        with torch.no_grad(), self.autocast():
            return _float(self.model(self.place(images)))

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """One optimizer step; the mean of each loss term over the batch."""
        train = self.configuration.train
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in _split(batch, train.micro_batches):
            share = len(part.labels) / len(batch.labels)
            terms = self._terms(part, epoch, batch.labels)
            self.scaler.scale(terms.total * share).backward()
            for name, value in terms.parts.items():
                sums[name] = sums.get(name, 0) + value * share
        if train.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), train.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return sums

    def losses(self, prediction: Prediction, batch: Batch, whole: Tensor) -> dict[str, Tensor]:
        """The loss terms of a prediction made already; `whole`: labels of all that is averaged over."""
        with torch.no_grad():
            return self._objective(prediction, batch, self.place(batch.images), whole).parts

    def _terms(self, batch: Batch, epoch: int, whole: Tensor) -> Terms:
        self.epoch = epoch
        images = self.place(batch.images)
        with self.autocast():
            prediction = self.model(images)
        return self._objective(_float(prediction), batch, images, whole)

    def _objective(self, prediction: Prediction, batch: Batch, images: Tensor, whole: Tensor) -> Terms:
        """The losses themselves stay in full precision; what autocast hastens is the feature loss's VGG."""
        masks, labels = batch.masks.to(self.device), batch.labels.to(self.device)
        whole = whole.to(self.device)
        with self.autocast():
            terms: Terms = self.objective(prediction, masks, labels, images, self.epoch, whole)
        return terms

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])


def build_network(
    configuration: Configuration,
    channels: int,
    class_counts: np.ndarray,
    size: int,
    numerics: Numerics,
    two_stage: TwoStage | None = None,
) -> Network:
    """Built under the caller's torch seed, so that the same seed gives the same weights."""
    spec = configuration.model
    model: nn.Module
    if two_stage is None:
        model = build(spec, channels, len(class_counts), size)
    else:
        model = build_second(spec, two_stage, channels, len(class_counts), size)
    precision = numerics.precision(configuration.train)
    layout = fastest_layout(model, precision)
    model = model.to(numerics.device).to(memory_format=layout)  # type: ignore[call-overload]
    objective = build_loss(configuration.loss, class_counts, traits(spec))
    objective = objective.to(numerics.device)
    optimizer = build_optimizer(configuration.train, model.parameters(), objective.parameters())
    scaler = torch.amp.GradScaler(numerics.device, enabled=precision == "fp16")
    schedule = Schedule(configuration.train, optimizer)
    device = numerics.device
    return Network(model, objective, optimizer, schedule, scaler, configuration, device, precision, layout)


def fastest_layout(model: nn.Module, precision: Precision) -> torch.memory_format:
    """Units for half precision multiply channel by channel and copy what comes in planes; torch's instance
    norm and its grid sampling lay everything out in planes again."""
    planes = any(isinstance(part, nn.InstanceNorm2d | DeformConv) for part in model.modules())
    return torch.contiguous_format if planes or precision == "off" else torch.channels_last


def _split(batch: Batch, parts: int) -> Iterable[Batch]:
    if parts == 1:
        return [batch]
    columns = [torch.tensor_split(column, min(parts, len(batch.labels))) for column in batch]
    return [Batch(*part) for part in zip(*columns, strict=True)]


def _float(prediction: Prediction) -> Prediction:
    logits = None if prediction.logits is None else prediction.logits.float()
    aux = {name: value.float() for name, value in prediction.aux.items()}
    return Prediction([mask.float() for mask in prediction.masks], logits, aux)
