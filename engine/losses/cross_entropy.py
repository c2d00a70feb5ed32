"""Cross-entropies: of a lesion map, of class logits, and of class logits read as yes-or-no answers."""

import torch.nn.functional as F
from torch import Tensor


def mask_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """One logit per pixel: the same number as cross-entropy over the two regions (0, logit)."""
    return F.binary_cross_entropy_with_logits(logits.float(), truth.float())


def class_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """As torch has it: with class weights the mean is a weighted one."""
    return F.cross_entropy(logits.float(), labels, weight=weights, label_smoothing=smoothing)


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """[B] -> [B, classes]: one-hot, with `smoothing` of the mass spread evenly."""
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def class_binary_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over images and classes of one-against-rest cross-entropies; a case weighs as its class does."""
    targets = soft_targets(labels, logits.shape[1], smoothing)
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(1)
    return weighted_mean(losses, labels, weights)


def weighted_mean(losses: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Σ w·loss / Σ w, so that weights move attention between classes and not the size of the loss."""
    if weights is None:
        return losses.mean()
    of_case = weights[labels]
    return (losses * of_case).sum() / of_case.sum()
