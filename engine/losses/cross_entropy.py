"""Cross-entropies: of a lesion map, of class logits, and of each class against the rest.

Class weights come as they are to be applied: `normalised` makes their mean over a batch one, so that they
move attention between classes and not the size of the loss, however many parts that batch goes through in.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """One logit per pixel: the same number as cross-entropy over the two regions (0, logit)."""
    return F.binary_cross_entropy_with_logits(logits.float(), truth.float())


def class_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """As torch has it for `normalised` weights."""
    losses = F.cross_entropy(
        logits.float(), labels, weight=weights, label_smoothing=smoothing, reduction="none"
    )
    return losses.mean()


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """[B] -> [B, classes]: one-hot, with `smoothing` of the mass spread evenly."""
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def class_binary_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over images and classes of one-against-rest cross-entropies of the softmax, which is what reads
    the logits later; of two classes it is the cross-entropy."""
    targets = soft_targets(labels, logits.shape[1], smoothing)
    losses = F.binary_cross_entropy_with_logits(against_rest(logits.float()), targets, reduction="none")
    return weighed(losses.mean(1), labels, weights)


def against_rest(logits: Tensor) -> Tensor:
    """[B, classes] -> of each class the logit of its softmax probability."""
    others = ~torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    rest = logits[:, None].masked_fill(~others, -torch.inf).logsumexp(2)
    return logits - rest


def normalised(weights: Tensor, labels: Tensor) -> Tensor:
    """Weights of the classes whose mean over these cases is one: Σ w·loss / n is then Σ w·loss / Σ w."""
    return weights / weights[labels].mean()


def weighed(losses: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of the cases' losses, each times its class's weight."""
    return losses.mean() if weights is None else (losses * weights[labels]).mean()
