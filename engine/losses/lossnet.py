"""LossNet: prediction and truth compared through the features of a frozen VGG-16.

The printed loss is a plain Euclidean norm of feature maps, whose size grows with the image and would drown
a Dice loss; we divide by the square root of the number of features, so that γ means the same at any size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.models.vgg import VggFeatures

TINY = 1e-12  # keeps the slope of the root finite where prediction and truth agree exactly


def feature_distance(predicted: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Σ over levels of ‖F_p − F_g‖₂ / √n per image, mean over the batch."""
    levels = [
        ((p.float() - t.float()).pow(2).flatten(1).mean(1) + TINY).sqrt()
        for p, t in zip(predicted, truth, strict=True)
    ]
    return torch.stack(levels).sum(0).mean()


def unlearned(network: nn.Module) -> nn.Module:
    """The network with its weights as buffers that are not saved: they move between devices with the loss,
    but no optimizer finds them and no checkpoint carries them."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach(), persistent=False)
    return network


class LossNet(nn.Module):
    """Called on mask logits and truth [B, 1, H, W]; `weights="none"` are random filters of a fixed seed."""

    def __init__(self, levels: int = 4, weights: str = "none", width: int = 64) -> None:
        super().__init__()
        self.network = unlearned(VggFeatures(levels, weights, width))

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.network(truth.float())
        return feature_distance(self.network(torch.sigmoid(logits.float())), wanted)
