"""What the backbones made of MONAI's networks have in common."""

import math
from typing import Any

from engine.models.features import Channels, supervised
from engine.spec.model import Model


def norm_of(model: Model, channels: int) -> tuple[str, dict[str, Any]]:
    """MONAI's name for our norm; groups of at most 8."""
    if model.norm == "group":
        return ("group", {"num_groups": math.gcd(8, channels)})
    return (str(model.norm), {"affine": True})


def symmetric(widths: list[int]) -> Channels:
    """One map per level, the decoder mirroring the encoder; all but its coarsest can be supervised."""
    decoder = widths[-2::-1]
    return Channels(widths[:-1], widths[-1], decoder, supervised(decoder))
