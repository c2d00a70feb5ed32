"""Focal losses: cross-entropy that looks away from what is already right."""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.losses.cross_entropy import soft_targets, weighed

LEAST = 1e-7  # of what is wrong yet: at 0, a power below one has an infinite slope


def class_focal(
    logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """−Σ_c t_c·(1 − p_c)^γ·log p_c with t the (smoothed) label; γ = 0 is cross-entropy."""
    log_p = F.log_softmax(logits.float(), dim=1)
    focus = (-torch.expm1(log_p)).clamp_min(LEAST) ** gamma
    targets = soft_targets(labels, logits.shape[1], smoothing)
    return weighed(-(targets * focus * log_p).sum(1), labels, weights)


def mask_focal(logits: Tensor, truth: Tensor, gamma: float) -> Tensor:
    """Mean over pixels of −(1 − p_t)^γ·log p_t, p_t the probability of the pixel's true side."""
    signed = logits.float() * (2 * truth.float() - 1)
    return (torch.sigmoid(-signed).clamp_min(LEAST) ** gamma * F.softplus(-signed)).mean()
