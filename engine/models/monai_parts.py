"""What the backbones made of MONAI's networks have in common."""

from typing import Any

from engine.models.blocks import groups_of
from engine.models.features import Channels, supervised
from engine.spec.model import Model


def norm_of(model: Model, channels: int) -> tuple[str, dict[str, Any]]:
    """MONAI's name for our norm; the groups of the first level divide those after it as well."""
    if model.norm == "group":
        return ("group", {"num_groups": groups_of(channels)})
    return (str(model.norm), {"affine": True})


def symmetric(widths: list[int]) -> Channels:
    """One map per level, the decoder mirroring the encoder; all but its coarsest can be supervised."""
    decoder = widths[-2::-1]
    return Channels(widths[:-1], widths[-1], decoder, supervised(decoder))
