"""The whole loss of a model: λ·segmentation + (1 − λ)·classification, every term kept by name.

segmentation = mask (with deep supervision) + α·soft_regions + γ·lossnet. A reconstruction is a regulariser
of the features that both tasks share, so it is added outside of λ.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import many
from engine.losses.check import Traits, alpha, check_loss, reconstruction
from engine.losses.cross_entropy import (
    class_binary_cross_entropy,
    class_cross_entropy,
    mask_cross_entropy,
    normalised,
)
from engine.losses.deep_supervision import MaskLoss, map_weights, supervised
from engine.losses.dice import dice_loss
from engine.losses.focal import class_focal, mask_focal
from engine.losses.lossnet import LossNet
from engine.losses.reconstruction import reconstruction_loss
from engine.losses.soft_region import soft_region_loss
from engine.losses.tversky import tversky_loss
from engine.losses.weighting import TASKS, Weighting
from engine.models.contract import Prediction
from engine.spec.loss import Loss


class Terms(NamedTuple):
    """`total` is what to differentiate; `parts` are detached scalars for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def mask_loss(loss: Loss) -> MaskLoss:
    """The chosen loss of one lesion map: (logits, truth) -> scalar."""
    dice = partial(dice_loss, smooth=loss.smooth)
    focal = partial(mask_focal, gamma=loss.focal_gamma)
    table: dict[str, MaskLoss] = {
        "auto": dice,
        "dice": dice,
        "dice_squared": partial(dice, squared=True),
        "cross_entropy": mask_cross_entropy,
        "focal": focal,
        "dice_ce": lambda logits, truth: dice(logits, truth) + mask_cross_entropy(logits, truth),
        "dice_focal": lambda logits, truth: dice(logits, truth) + focal(logits, truth),
        "tversky": partial(
            tversky_loss,
            false_positive=loss.tversky_false_positive,
            false_negative=loss.tversky_false_negative,
            smooth=loss.smooth,
        ),
    }
    return table[loss.segmentation]


def class_loss(loss: Loss, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """The chosen loss of the class logits [B, classes]."""
    if loss.classification == "cross_entropy":
        return class_cross_entropy(logits, labels, weights, loss.label_smoothing)
    if loss.classification == "binary_cross_entropy":
        return class_binary_cross_entropy(logits, labels, weights, loss.label_smoothing)
    return class_focal(logits, labels, loss.focal_gamma, weights, loss.label_smoothing)


def class_weights(loss: Loss, counts: np.ndarray) -> Tensor | None:
    """`balanced` gives each class the same sum of weights; a class without cases counts as one case."""
    if loss.class_weights == "none":
        return None
    if loss.class_weights == "balanced":
        cases = np.maximum(np.asarray(counts, dtype=np.float64), 1)
        return torch.tensor(cases.sum() / (len(cases) * cases), dtype=torch.float32)
    return torch.tensor(loss.class_weights, dtype=torch.float32)


class Objective(nn.Module):
    """Called on a prediction and the truth; its parameters, if any, are optimised with the model's."""

    weights: Tensor | None

    def __init__(self, loss: Loss, traits: Traits, weights: Tensor | None) -> None:
        super().__init__()
        self.loss, self.alpha, self.reconstruction = loss, alpha(loss, traits), reconstruction(loss, traits)
        self.mask_loss = mask_loss(loss)
        self.weighting = Weighting(loss)
        self.lossnet = LossNet(loss.lossnet.levels, loss.lossnet.weights) if loss.gamma > 0 else None
        self.register_buffer("weights", weights, persistent=False)

    def forward(
        self,
        prediction: Prediction,
        masks: Tensor,
        labels: Tensor,
        images: Tensor,
        epoch: int,
        whole: Tensor | None = None,
    ) -> Terms:
        """masks [B, 1, H, W] of 0/1, labels [B], images [B, C, H, W] as the network saw them; `whole` are
        the labels of all cases where these are but a part, whose losses will be averaged by case."""
        whole = labels if whole is None else whole
        parts = self.segmentation(prediction, masks) | self.classification(prediction, labels, whole)
        total = self.weigh(parts, epoch)
        if self.reconstruction > 0:
            parts["reconstruction"] = reconstruction_loss(prediction.aux["reconstruction"], images)
            total = total + self.reconstruction * parts["reconstruction"]
        parts["total"] = total
        return Terms(total, {name: part.detach() for name, part in parts.items()})

    def segmentation(self, prediction: Prediction, truth: Tensor) -> dict[str, Tensor]:
        """The terms of the lesion maps, and `segmentation`, their sum."""
        if not prediction.masks:
            return {}
        rule = "inverse" if self.loss.deep_supervision == "auto" else self.loss.deep_supervision
        weights = map_weights(len(prediction.masks), rule)
        parts = {"mask": supervised(prediction.masks, truth, weights, self.mask_loss)}
        total = parts["mask"]
        if self.alpha > 0:
            parts["soft_regions"] = soft_region_loss(prediction.aux["soft_regions"], truth)
            total = total + self.alpha * parts["soft_regions"]
        if self.lossnet is not None:
            parts["lossnet"] = self.lossnet(prediction.masks[-1], truth)
            total = total + self.loss.gamma * parts["lossnet"]
        return parts | {"segmentation": total}

    def classification(self, prediction: Prediction, labels: Tensor, whole: Tensor) -> dict[str, Tensor]:
        if prediction.logits is None:
            return {}
        weights = None if self.weights is None else normalised(self.weights, whole)
        return {"classification": class_loss(self.loss, prediction.logits, labels, weights)}

    def weigh(self, parts: dict[str, Tensor], epoch: int) -> Tensor:
        """Both tasks weighed, or the only one as it is; weights that move join the log."""
        if not set(TASKS) <= set(parts):
            return parts["segmentation"] if "segmentation" in parts else parts["classification"]
        total, weights = self.weighting(parts["segmentation"], parts["classification"], epoch)
        if self.loss.weighting != "fixed":
            parts.update({f"weight_{task}": weights[place] for place, task in enumerate(TASKS)})
        return total

    def end_epoch(self, mean_parts: Mapping[str, float]) -> None:
        """Told the epoch's mean parts once, for weightings that follow them."""
        self.weighting.end_epoch(mean_parts)


def build_loss(loss: Loss, class_counts: np.ndarray, traits: Traits) -> Objective:
    """class_counts: training cases of each class, in the order of the logits."""
    problems = check_loss(loss, traits, len(class_counts))
    if problems:
        raise many(f"the loss does not fit model {traits.name!r}", problems)
    return Objective(loss, traits, class_weights(loss, class_counts))
