"""The whole loss of a model: λ·segmentation + (1 − λ)·classification, every term kept by name."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import many
from engine.losses.check import Traits, check_loss
from engine.losses.cross_entropy import class_binary_cross_entropy, class_cross_entropy, mask_cross_entropy
from engine.losses.dice import dice_loss
from engine.losses.focal import class_focal, mask_focal
from engine.models.contract import Prediction
from engine.spec.loss import Loss


class Terms(NamedTuple):
    """`total` is what to differentiate; `parts` are detached scalars for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def class_weights(loss: Loss, counts: np.ndarray) -> Tensor | None:
    """`balanced` gives each class the same sum of weights; a class without cases counts as one case."""
    if loss.class_weights == "none":
        return None
    if loss.class_weights == "balanced":
        cases = np.maximum(np.asarray(counts, dtype=np.float64), 1)
        return torch.tensor(cases.sum() / (len(cases) * cases), dtype=torch.float32)
    return torch.tensor(loss.class_weights, dtype=torch.float32)


def mask_loss(loss: Loss, logits: Tensor, truth: Tensor) -> Tensor:
    """The chosen loss of one lesion map."""
    if loss.segmentation == "cross_entropy":
        return mask_cross_entropy(logits, truth)
    if loss.segmentation == "focal":
        return mask_focal(logits, truth, loss.focal_gamma)
    return dice_loss(logits, truth, loss.smooth, squared=loss.segmentation == "dice_squared")


def class_loss(loss: Loss, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """The chosen loss of the class logits."""
    if loss.classification == "focal":
        return class_focal(logits, labels, loss.focal_gamma, weights, loss.label_smoothing)
    if loss.classification == "cross_entropy":
        return class_cross_entropy(logits, labels, weights, loss.label_smoothing)
    return class_binary_cross_entropy(logits, labels, weights, loss.label_smoothing)


class Objective(nn.Module):
    """Called on a prediction and the truth; its parameters, if any, are optimised with the model's."""

    weights: Tensor | None

    def __init__(self, loss: Loss, traits: Traits, weights: Tensor | None) -> None:
        super().__init__()
        self.loss, self.traits = loss, traits
        self.register_buffer("weights", weights, persistent=False)

    def forward(
        self, prediction: Prediction, masks: Tensor, labels: Tensor, images: Tensor, epoch: int
    ) -> Terms:
        seg, parts = self.segmentation(prediction, masks)
        cls = self.classification(prediction, labels)
        if cls is not None:
            parts["classification"] = cls
        if seg is not None and cls is not None:
            total = self.loss.lambda_ * seg + (1 - self.loss.lambda_) * cls
        else:
            total = seg if seg is not None else cls
        parts["total"] = total
        return Terms(total, {name: part.detach() for name, part in parts.items()})

    def segmentation(self, prediction: Prediction, masks: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        if not prediction.masks:
            return None, {}
        seg = mask_loss(self.loss, prediction.masks[-1], masks)
        return seg, {"segmentation": seg}

    def classification(self, prediction: Prediction, labels: Tensor) -> Tensor | None:
        if prediction.logits is None:
            return None
        return class_loss(self.loss, prediction.logits, labels, self.weights)

    def end_epoch(self, mean_parts: Mapping[str, float]) -> None:
        """Told the epoch's mean parts, for weightings that follow them."""


def build_loss(loss: Loss, class_counts: np.ndarray, traits: Traits) -> Objective:
    problems = check_loss(loss, traits, len(class_counts))
    if problems:
        raise many(f"the loss does not fit model {traits.name!r}", problems)
    return Objective(loss, traits, class_weights(loss, class_counts))
