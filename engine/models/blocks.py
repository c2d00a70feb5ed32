"""The blocks that several systems share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.spec.model import NormName


def normalise(name: NormName, channels: int) -> nn.Module:
    """`instance` learns a scale and shift like the others."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(groups_of(channels), channels)


def groups_of(channels: int) -> int:
    """As many as divide the channels, 8 at most.

    Six channels are six groups: in two groups of three, a channel that loses against its neighbours falls
    below zero everywhere, and a ReLU that is never on never learns again.
    """
    return next(groups for groups in range(8, 0, -1) if channels % groups == 0)


def norm_for_pooling(name: NormName) -> NormName:
    """Instance norm right before an average over the image would erase the very means that are read."""
    return "group" if name == "instance" else name


class ConvNormAct(nn.Sequential):
    """[B, inputs, H, W] -> [B, outputs, H, W]; no bias, since the norm has one."""

    def __init__(self, inputs: int, outputs: int, norm: NormName, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 * dilation, dilation=dilation, bias=False),
            normalise(norm, outputs),
            nn.ReLU(inplace=True),
        )


class DoubleConv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, norm: NormName) -> None:
        super().__init__(ConvNormAct(inputs, outputs, norm), ConvNormAct(outputs, outputs, norm))


class Residual(nn.Module):
    """Two convolutions and the input beside them, through a 1 x 1 convolution where the widths differ."""

    def __init__(self, inputs: int, outputs: int, norm: NormName) -> None:
        super().__init__()
        self.first = ConvNormAct(inputs, outputs, norm)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), normalise(norm, outputs)
        )
        self.beside = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.beside(x))


class UpConv(nn.Sequential):
    """Twice the resolution by interpolation, then convolution and norm: no checkerboard."""

    def __init__(self, inputs: int, outputs: int, norm: NormName) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            normalise(norm, outputs),
        )


def mean_and_max(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 2C]: how much of it there is, and whether it is anywhere."""
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


class Mlp(nn.Sequential):
    """Two layers from pooled features to class logits."""

    def __init__(self, inputs: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )
