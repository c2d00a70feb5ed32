"""One loss from several maps of the same lesion, from the coarsest head to the final one."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

MaskLoss = Callable[[Tensor, Tensor], Tensor]


def map_weights(count: int, rule: Literal["inverse", "equal", "off"]) -> list[float]:
    """Weights of maps ordered coarse to fine. `inverse`: 1/i, i = 1 for the final map; never normalised,
    as the prediction-refining paper sums them."""
    if rule == "off":
        return [0.0] * (count - 1) + [1.0]
    return [1.0 if rule == "equal" else 1.0 / (count - place) for place in range(count)]


def truth_at(truth: Tensor, like: Tensor) -> Tensor:
    """The truth at a head's own resolution [B, 1, h, w]; by nearest pixel, so that it stays binary."""
    if truth.shape[-2:] == like.shape[-2:]:
        return truth
    return F.interpolate(truth.float(), size=like.shape[-2:], mode="nearest-exact")


def supervised(maps: Sequence[Tensor], truth: Tensor, weights: Sequence[float], loss: MaskLoss) -> Tensor:
    """Σ wᵢ·loss(mapᵢ, truth at its size); maps without weight are not looked at."""
    terms = [w * loss(m, truth_at(truth, m)) for m, w in zip(maps, weights, strict=True) if w > 0]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
