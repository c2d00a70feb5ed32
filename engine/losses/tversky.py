"""The Tversky loss: Dice with a price of its own for each kind of error."""

import torch
from torch import Tensor

from engine.losses.dice import per_image


def tversky_loss(
    logits: Tensor, truth: Tensor, false_positive: float, false_negative: float, smooth: float = 1.0
) -> Tensor:
    """1 − (TP + s) / (TP + a·FP + b·FN + s) per image, mean over the batch; a = b = 0.5 is Dice with s/2."""
    p, y = per_image(torch.sigmoid(logits.float())), per_image(truth)
    tp = (p * y).sum(1)
    fp, fn = p.sum(1) - tp, y.sum(1) - tp
    score = (tp + smooth) / (tp + false_positive * fp + false_negative * fn + smooth)
    return (1 - score).mean()
