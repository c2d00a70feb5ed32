"""The plain U-Nets: two convolutions per level, max-pool down, skip connections by concatenation."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import DoubleConv, Residual, UpConv
from engine.models.features import Channels, Features, Trunk, supervised
from engine.spec.model import Model

Make = Callable[[int, int], nn.Module]


class PlainUnet(Trunk):
    """`block(inputs, outputs)` makes a level, `up(inputs, outputs)` doubles the resolution."""

    def __init__(
        self, channels: int, widths: list[int], block: Make, up: Make, decodes: bool, dropout: float
    ) -> None:
        super().__init__(dropout)
        self.down = nn.ModuleList(block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        rising = widths[::-1]
        pairs = list(pairwise(rising)) if decodes else []
        self.up = nn.ModuleList(up(a, b) for a, b in pairs)
        self.merge = nn.ModuleList(block(2 * b, b) for _, b in pairs)
        maps = [b for _, b in pairs]
        self.channels = Channels(widths[:-1], widths[-1], maps, supervised(maps))

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            maps.append(x)
        maps[-1] = x = self.dropout(x)
        decoded: list[Tensor] = []
        for up, merge, skip in zip(self.up, self.merge, maps[-2::-1], strict=False):
            x = merge(torch.cat([skip, up(x)], dim=1))
            decoded.append(x)
        return Features(maps[:-1], maps[-1], decoded, supervised(decoded))


def widths_of(model: Model) -> list[int]:
    """Doubling with every halving of the resolution."""
    assert model.width is not None
    assert model.depth is not None
    return [model.width * 2**level for level in range(model.depth + 1)]


def plain_unet(model: Model, channels: int, decodes: bool) -> Trunk:
    assert model.norm is not None
    norm = model.norm
    return PlainUnet(
        channels,
        widths_of(model),
        lambda a, b: DoubleConv(a, b, norm),
        lambda a, b: nn.ConvTranspose2d(a, b, 2, stride=2),
        decodes,
        model.dropout,
    )


def plain_resunet(model: Model, channels: int, decodes: bool) -> Trunk:
    assert model.norm is not None
    norm = model.norm
    return PlainUnet(
        channels,
        widths_of(model),
        lambda a, b: Residual(a, b, norm),
        lambda a, b: UpConv(a, b, norm),
        decodes,
        model.dropout,
    )
