"""Optimizers and learning rates. All but `plateau` are pure functions of the epoch."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from engine.spec.train import Train
from engine.training.uncompiled import uncompiled

Sgd = uncompiled(SGD)
ADAMS: dict[str, type[Adam]] = {"adam": uncompiled(Adam), "adamw": uncompiled(AdamW)}


def build_optimizer(
    train: Train, parameters: Iterable[nn.Parameter], weights: Iterable[nn.Parameter] = ()
) -> Optimizer:
    """`weights`: learned weights of losses. Decay would pull each task's variance towards one."""
    trained: list[dict[str, Any]] = [{"params": [p for p in parameters if p.requires_grad]}]
    if learned := list(weights):
        trained.append({"params": learned, "weight_decay": 0.0})
    if train.optimizer == "sgd":
        return _begun(
            Sgd(trained, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay, fused=True)
        )
    kind = ADAMS[train.optimizer]
    return kind(trained, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay, fused=True)


def _begun(optimizer: Optimizer) -> Optimizer:
    """Torch's own start is memory as it lies, which a first step that overflowed in fp16 never fills."""
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class Plateau(ReduceLROnPlateau):
    """Torch asks for a share of the best score more, which an equal score has where it is negative."""

    def _is_better(self, score: float, best: float) -> bool:
        return score > best + self.threshold * abs(best) if math.isfinite(best) else score > best


def lr_factor(train: Train, epoch: int) -> float:
    """Of the learning rate in this epoch (from 1), before any plateau.

    The cosine reaches its floor as the last epoch ends, as published (Loshchilov and Hutter 2017): reached
    before, a floor of 0 would leave that epoch nothing to learn with.
    """
    if epoch <= train.warmup:
        return epoch / (train.warmup + 1)
    done = epoch - 1 - train.warmup
    if train.schedule == "cosine":
        share = done / (train.epochs - train.warmup)
        return train.lr_floor + (1 - train.lr_floor) * (1 + math.cos(math.pi * share)) / 2
    if train.schedule == "lambda":
        return max(train.lr_floor, train.decay**done)
    return 1.0


REMEMBERED = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # of a plateau, in checkpoints


class Schedule:
    """Sets the learning rate before each epoch; `plateau` also listens to the validation score."""

    def __init__(self, train: Train, optimizer: Optimizer) -> None:
        self.train, self.optimizer = train, optimizer
        self.reduced = 1.0
        probe = Sgd([nn.Parameter(torch.zeros(1))], lr=1.0)
        self.plateau = Plateau(
            probe, mode="max", factor=train.plateau_factor, patience=train.plateau_patience
        )

    def start(self, epoch: int) -> float:
        lr = self.train.lr * lr_factor(self.train, epoch) * self.reduced
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def end(self, score: float) -> None:
        if self.train.schedule == "plateau":
            self.plateau.step(score)
            self.reduced = self.plateau.optimizer.param_groups[0]["lr"]

    def state_dict(self) -> dict[str, Any]:
        return {"reduced": self.reduced, **{name: getattr(self.plateau, name) for name in REMEMBERED}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reduced = state["reduced"]
        self.plateau.optimizer.param_groups[0]["lr"] = self.reduced
        for name in REMEMBERED:
            setattr(self.plateau, name, state[name])
