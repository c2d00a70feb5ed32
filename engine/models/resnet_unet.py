"""U-Net with a ResNet as encoder, the backbone of ACSNet and of its peers.

The paper speaks of four halvings and of a first stage at full resolution, which a ResNet has only without
the stride of its stem; the FLOPs that it prints for its peers confirm this reading. That is `depth: 4`.
With `depth: 5` the stem keeps its stride, which costs a quarter and suits pretrained weights better.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.attention import DeformableAttention, GateUnit
from engine.models.blocks import DoubleConv
from engine.models.features import Channels, Features, Trunk
from engine.models.resnet import ResNetEncoder
from engine.spec.model import Model, NormName

FEWEST = 4  # channels at full resolution in narrow forms: with fewer, masks often stay empty


class ResnetUnet(Trunk):
    """Stages 1 to 5 are the encoder's maps, stages 6 to 9 the decoder's."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.encoder = make_encoder(model, channels)
        maps = list(self.encoder.channels)
        skips = maps[-2::-1] if decodes else []
        widths = decoder_widths(model)[: len(skips)]
        self.gates = nn.ModuleList(GateUnit(skip) if model.gate else nn.Identity() for skip in skips)
        before = [maps[-1], *widths]
        self.stages = nn.ModuleList(
            _stage(below + skip, width, model.norm, bool(model.dsa))
            for below, skip, width in zip(before, skips, widths, strict=False)
        )
        self.full = _full_resolution(model, decodes)
        decoder = [*widths, *([max(FEWEST, model.width // 2)] if self.full is not None else [])]
        self.channels = Channels(maps[:-1], maps[-1], decoder, decoder[1:])

    def forward(self, x: Tensor) -> Features:
        *skips, bottleneck = self.encoder(x)
        x = bottleneck
        decoded: list[Tensor] = []
        for stage, gate, skip in zip(self.stages, self.gates, skips[::-1], strict=False):
            x = stage(torch.cat([upsample(x), gate(skip)], dim=1))
            decoded.append(x)
        if self.full is not None:
            decoded.append(self.full(upsample(x)))
        return Features(skips, bottleneck, decoded, decoded[1:])


def make_encoder(model: Model, channels: int) -> ResNetEncoder:
    """`depth: 4` reads the images with a stem without stride."""
    assert model.encoder is not None
    assert model.width is not None
    assert model.norm is not None
    return ResNetEncoder(
        model.encoder,
        channels,
        model.width,
        model.norm,
        stem_stride=1 if model.depth == 4 else 2,
        dropout=model.dropout,
        weights=model.weights,
    )


def decoder_widths(model: Model) -> list[int]:
    """Coarse to fine, whatever the encoder: those of a ResNet-18's maps."""
    assert model.width is not None
    return [4 * model.width, 2 * model.width, model.width, model.width]


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _stage(inputs: int, outputs: int, norm: NormName, dsa: bool) -> nn.Sequential:
    block = DoubleConv(inputs, outputs, norm)
    return nn.Sequential(block, DeformableAttention(outputs, norm)) if dsa else nn.Sequential(block)


def _full_resolution(model: Model, decodes: bool) -> nn.Module | None:
    """A last level without skip, where the stem's stride has left none."""
    assert model.width is not None
    assert model.norm is not None
    if not decodes or model.depth == 4:
        return None
    return DoubleConv(model.width, max(FEWEST, model.width // 2), model.norm)


def build(model: Model, channels: int, decodes: bool) -> Trunk:
    return ResnetUnet(model, channels, decodes)
