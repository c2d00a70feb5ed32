"""What a backbone hands to heads, whatever network it is."""

from typing import NamedTuple, TypeVar

from torch import Tensor, nn

Map = TypeVar("Map")


class Features(NamedTuple):
    """Maps of one image batch. `encoder`: fine to coarse, the last one at twice the bottleneck's resolution;
    `decoder`: coarse to fine, the first one at the resolution of the encoder's last, the last one at full
    resolution; `sides`: the maps that masks are read from, the final one last."""

    encoder: list[Tensor]
    bottleneck: Tensor
    decoder: list[Tensor]
    sides: list[Tensor]


class Channels(NamedTuple):
    """The channel counts of `Features`, known before any image is seen."""

    encoder: list[int]
    bottleneck: int
    decoder: list[int]
    sides: list[int]


class Trunk(nn.Module):
    """A network that turns x: [B, C, H, W] into `Features`. One that is not asked to decode has no decoder,
    so that no parameter lies idle."""

    channels: Channels

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)  # of the bottleneck, before decoder and heads read it

    def __call__(self, x: Tensor) -> Features:
        return super().__call__(x)


def supervised(maps: list[Map]) -> list[Map]:
    """The maps of a mirrored decoder that masks are read from: all but the coarsest, and at least two."""
    return maps[1:] if len(maps) > 2 else maps
