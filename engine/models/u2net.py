"""U²-Net (Qin et al. 2020): a U-Net whose every stage is a small U-Net of its own (RSU block).

`u2net_lite` is its small form: 16 inner and 64 outer channels in every stage. Six side outputs and their
fusion are all masks at full size, coarse to fine and the fusion last, in training and in evaluation alike.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct
from engine.models.contract import Prediction
from engine.spec.model import Model, NormName


class Stage(NamedTuple):
    """Height of the RSU block (`flat`: dilation instead of pooling) and its inner and outer channels."""

    height: int
    flat: bool
    inner: int
    outer: int


FULL_DOWN = (
    Stage(7, False, 32, 64), Stage(6, False, 32, 128), Stage(5, False, 64, 256), Stage(4, False, 128, 512),
    Stage(4, True, 256, 512), Stage(4, True, 256, 512),
)  # fmt: skip
FULL_UP = (
    Stage(4, True, 256, 512), Stage(4, False, 128, 256), Stage(5, False, 64, 128), Stage(6, False, 32, 64),
    Stage(7, False, 16, 64),
)  # fmt: skip
LITE_DOWN = tuple(stage._replace(inner=16, outer=64) for stage in FULL_DOWN)
LITE_UP = tuple(stage._replace(inner=16, outer=64) for stage in FULL_UP)


class Rsu(nn.Module):
    """A U-Net of `height` levels inside a residual connection. Sizes need not divide: pooling rounds up."""

    def __init__(self, inputs: int, stage: Stage, norm: NormName) -> None:
        super().__init__()
        self.flat = stage.flat
        inner, outer, height = stage.inner, stage.outer, stage.height
        rates = [2**level if stage.flat else 1 for level in range(height - 1)]
        self.enter = ConvNormAct(inputs, outer, norm)
        widths = pairwise([outer] + [inner] * (height - 1))
        self.down = nn.ModuleList(
            ConvNormAct(a, b, norm, dilation=rate) for (a, b), rate in zip(widths, rates, strict=True)
        )
        self.bottom = ConvNormAct(inner, inner, norm, dilation=2 * rates[-1] if stage.flat else 2)
        outputs = [inner] * (height - 2) + [outer]
        self.up = nn.ModuleList(
            ConvNormAct(2 * inner, b, norm, dilation=rate)
            for b, rate in zip(outputs, rates[::-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        entered = x = self.enter(x)
        maps: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(_halve(x) if level and not self.flat else x)
            maps.append(x)
        x = self.bottom(x)
        for up, skip in zip(self.up, maps[::-1], strict=True):
            x = up(torch.cat([_like(x, skip), skip], dim=1))
        return x + entered


class U2Net(nn.Module):
    def __init__(self, model: Model, channels: int, down: tuple[Stage, ...], up: tuple[Stage, ...]) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        down, up = (tuple(_scale(stage, model.width) for stage in stages) for stages in (down, up))
        self.supervised = bool(model.deep_supervision)
        inputs = [channels, *(stage.outer for stage in down)]
        self.down = nn.ModuleList(Rsu(a, stage, model.norm) for a, stage in zip(inputs, down, strict=False))
        below = [down[-1].outer, *(stage.outer for stage in up)]
        skips = [stage.outer for stage in down[-2::-1]]
        self.up = nn.ModuleList(
            Rsu(a + b, stage, model.norm) for a, b, stage in zip(below, skips, up, strict=False)
        )
        self.dropout = nn.Dropout2d(model.dropout)
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in below)
        self.fuse = nn.Conv2d(len(below), 1, 1)

    def forward(self, x: Tensor) -> Prediction:
        maps: list[Tensor] = []
        y = x
        for level, stage in enumerate(self.down):
            y = stage(_halve(y) if level else y)
            maps.append(y)
        y = self.dropout(y)
        outputs = [y]
        for stage, skip in zip(self.up, maps[-2::-1], strict=True):
            y = stage(torch.cat([_like(y, skip), skip], dim=1))
            outputs.append(y)
        sides = [_like(side(output), x) for side, output in zip(self.sides, outputs, strict=True)]
        fused = self.fuse(torch.cat(sides, dim=1))
        return Prediction([*sides, fused] if self.supervised else [fused], None, {})


def _halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def _like(x: Tensor, other: Tensor) -> Tensor:
    if x.shape[-2:] == other.shape[-2:]:
        return x
    return F.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=False)


def _scale(stage: Stage, width: int) -> Stage:
    """The published channels belong to a width of 64."""
    return stage._replace(inner=max(1, stage.inner * width // 64), outer=max(1, stage.outer * width // 64))


def full(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return U2Net(model, channels, FULL_DOWN, FULL_UP)


def lite(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return U2Net(model, channels, LITE_DOWN, LITE_UP)
