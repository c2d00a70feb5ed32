"""Dice as a loss, per image, so that a small lesion counts as much as a large one.

The papers disagree about the denominator: ACSNet sums the maps, the prediction-refining framework their
squares. `smooth` stands in both numerator and denominator: an empty prediction of an empty truth costs
nothing, and a false lesion in an empty image costs the more the larger it is.
"""

import torch
from torch import Tensor


def per_image(map_: Tensor) -> Tensor:
    """[B, 1, h, w] -> [B, h·w], in float32 whatever the precision of the forward pass."""
    return map_.float().flatten(1)


def dice_loss(logits: Tensor, truth: Tensor, smooth: float = 1.0, squared: bool = False) -> Tensor:
    """1 − (2·Σpy + s) / (Σp + Σy + s), or with Σp² + Σy² below; mean over the batch."""
    p, y = per_image(torch.sigmoid(logits.float())), per_image(truth)
    size = (p * p + y * y) if squared else (p + y)
    score = (2 * (p * y).sum(1) + smooth) / (size.sum(1) + smooth)
    return (1 - score).mean()
