"""How the losses of two tasks become one: λ fixed, moved over epochs, learned, or after the pace of both."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.spec.loss import Loss, Schedule

TASKS = ("segmentation", "classification")


def scheduled_lambda(start: float, schedule: Schedule, epoch: int) -> float:
    """λ at an epoch (from 1): `start` until `schedule.start` are over, then on to `schedule.to`."""
    done = min(max((epoch - 1 - schedule.start) / schedule.epochs, 0.0), 1.0)
    if schedule.shape == "cosine":
        done = (1 - math.cos(math.pi * done)) / 2
    if schedule.shape == "step":
        done = math.floor(done)
    return start + done * (schedule.to - start)


def uncertainty_total(losses: Tensor, log_variances: Tensor) -> Tensor:
    """Σ exp(−s)·L + s/2 with s = log σ² learned per task (Kendall et al. 2018, for likelihoods)."""
    return (torch.exp(-log_variances) * losses + log_variances / 2).sum()


def pace_weights(history: Tensor, temperature: float) -> Tensor:
    """history: [2 epochs, tasks], the newer last -> weights that sum to the number of tasks.

    Dynamic weight averaging (Liu et al. 2019): softmax of each loss' ratio of the last two epochs. Until two
    epochs are known (NaN), every task weighs 1.
    """
    known = torch.isfinite(history).all() & (history[0].abs() > 0).all()
    paces = torch.where(known, history[1] / history[0], torch.ones_like(history[1]))
    return len(paces) * torch.softmax(paces / temperature, dim=0)


class Weighting(nn.Module):
    """Both losses -> (total, weights of the tasks). What it learns or remembers is in its `state_dict`."""

    history: Tensor

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        if loss.weighting == "uncertainty":
            start = torch.tensor([loss.lambda_, 1 - loss.lambda_])
            self.log_variances = nn.Parameter(-torch.log(start))
        if loss.weighting == "dwa":
            self.register_buffer("history", torch.full((2, len(TASKS)), torch.nan))

    def forward(self, segmentation: Tensor, classification: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        losses = torch.stack([segmentation, classification])
        if self.loss.weighting == "uncertainty":
            weights = torch.exp(-self.log_variances)
            return uncertainty_total(losses, self.log_variances), weights
        weights = self.fixed(epoch, losses)
        if self.loss.weighting == "dwa":
            weights = weights * pace_weights(self.history, self.loss.dwa_temperature)
        return (weights * losses).sum(), weights

    def fixed(self, epoch: int, like: Tensor) -> Tensor:
        """(λ, 1 − λ) of this epoch."""
        share = self.loss.lambda_
        if self.loss.weighting == "scheduled":
            share = scheduled_lambda(share, self.loss.schedule, epoch)
        return like.new_tensor([share, 1 - share])

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Remembers the epoch's mean losses for the pace of the next ones."""
        if self.loss.weighting == "dwa":
            newest = self.history.new_tensor([means[task] for task in TASKS])
            self.history.copy_(torch.stack([self.history[1], newest]))
