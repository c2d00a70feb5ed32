"""TransUNet (Chen et al. 2021): a ResNet-50 down to a sixteenth, a ViT-B/16 over its map, a U-Net decoder.

The published hybrid encoder has nine blocks in its third stage; ours has torchvision's six, so that its
weights fit. Pretrained weights reach the ResNet only. The transformer's blocks are torch's: MONAI's carry
a norm for cross-attention that nothing here would train.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, DoubleConv
from engine.models.contract import Prediction
from engine.models.resnet import ResNetEncoder
from engine.models.resnet_unet import FEWEST, upsample
from engine.spec.model import Model

HEADS = 12  # as many as ViT-B; each is `width` wide, so that a width of 64 gives its 768


class TransUnet(nn.Module):
    def __init__(self, model: Model, channels: int, size: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        assert model.layers is not None
        width, norm = model.width, model.norm
        self.encoder = ResNetEncoder(
            "resnet50", channels, width, norm, stages=3, dropout=model.dropout, weights=model.weights
        )
        *skips, deepest = self.encoder.channels
        self.transformer = Transformer(deepest, HEADS * width, model.layers, size // 16)
        self.narrow = ConvNormAct(HEADS * width, 8 * width, norm)
        widths = [4 * width, 2 * width, width]
        before = [8 * width, *widths]
        self.stages = nn.ModuleList(
            DoubleConv(below + skip, own, norm)
            for below, skip, own in zip(before, skips[::-1], widths, strict=False)
        )
        finest = max(FEWEST, width // 4)
        self.full = DoubleConv(width, finest, norm)
        self.mask = nn.Conv2d(finest, 1, 1)

    def forward(self, x: Tensor) -> Prediction:
        *skips, deepest = self.encoder(x)
        x = self.narrow(self.transformer(deepest))
        for stage, skip in zip(self.stages, skips[::-1], strict=True):
            x = stage(torch.cat([upsample(x), skip], dim=1))
        return Prediction([self.mask(self.full(upsample(x)))], None, {})


class Transformer(nn.Module):
    """Every pixel of the map is a token; its place is learned on a `grid` x `grid` map and interpolated for
    images of another size."""

    def __init__(self, inputs: int, hidden: int, layers: int, grid: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, hidden, 1)
        self.place = nn.Parameter(torch.empty(1, hidden, grid, grid))
        nn.init.trunc_normal_(self.place, std=0.02)
        self.blocks = nn.Sequential(*(_block(hidden) for _ in range(layers)))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, h, w] -> [B, hidden, h, w]"""
        embedded = self.embed(x) + self._place(x)
        tokens = self.norm(self.blocks(embedded.flatten(2).transpose(1, 2)))
        return tokens.transpose(1, 2).reshape(embedded.shape)

    def _place(self, x: Tensor) -> Tensor:
        if self.place.shape[-2:] == x.shape[-2:]:
            return self.place
        return F.interpolate(self.place, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _block(hidden: int) -> nn.TransformerEncoderLayer:
    """Normalised before attention and before the perceptron, as in ViT."""
    return nn.TransformerEncoderLayer(
        hidden, HEADS, 4 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


def build(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return TransUnet(model, channels, size)
