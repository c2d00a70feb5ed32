"""The single-task peers of ACSNet, all over the same ResNet encoder: FCN, FPN, DeepLabV3+, UNet++.

The paper only says that each has the backbone of its own network (ResNet-18), and prints FLOPs that fit an
encoder whose stem has no stride; so `depth: 4` is that encoder here too, and `depth: 5` the usual one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, DoubleConv
from engine.models.contract import Prediction
from engine.models.resnet import ResNetEncoder
from engine.models.resnet_unet import FEWEST, make_encoder, upsample
from engine.spec.model import Model, NormName

RATES = (6, 12, 18)  # dilations of DeepLabV3+ at a sixteenth of the resolution


class Fcn(nn.Module):
    """FCN-8s (Long et al. 2015): scores of the last three stages, added while the resolution doubles."""

    def __init__(self, model: Model, channels: int) -> None:
        super().__init__()
        self.encoder = make_encoder(model, channels)
        self.scores = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in self.encoder.channels[-3:])

    def forward(self, x: Tensor) -> Prediction:
        maps = self.encoder(x)[-3:]
        fine, middle, coarse = (score(m) for score, m in zip(self.scores, maps, strict=True))
        total = fine + upsample(middle + upsample(coarse))
        return Prediction([_to_size(total, x)], None, {})


class Fpn(nn.Module):
    """Feature pyramid (Lin et al. 2017) with the segmentation branch of Kirillov et al. 2019: every level is
    convolved and doubled until it reaches the finest one, and all are added. The 3x3 smoothing of the
    pyramid, which only detectors read, is left out: the printed FLOPs leave no room for it."""

    def __init__(self, model: Model, channels: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.encoder = make_encoder(model, channels)
        pyramid, merged = 4 * model.width, 2 * model.width
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in self.encoder.channels[1:])
        self.rise = nn.ModuleList(_rise(pyramid, merged, steps, model.norm) for steps in range(4))
        self.mask = nn.Conv2d(merged, 1, 1)

    def forward(self, x: Tensor) -> Prediction:
        levels = [lateral(m) for lateral, m in zip(self.lateral, self.encoder(x)[1:], strict=True)]
        for level in (2, 1, 0):
            levels[level] = levels[level] + F.interpolate(levels[level + 1], scale_factor=2.0)
        merged = torch.stack([rise(level) for rise, level in zip(self.rise, levels, strict=True)]).sum(0)
        return Prediction([_to_size(self.mask(merged), x)], None, {})


def _rise(inputs: int, outputs: int, steps: int, norm: NormName) -> nn.Sequential:
    layers: list[nn.Module] = [ConvNormAct(inputs, outputs, norm)]
    for step in range(steps):
        layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        if step < steps - 1:
            layers.append(ConvNormAct(outputs, outputs, norm))
    return nn.Sequential(*layers)


class DeepLabV3Plus(nn.Module):
    """Chen et al. 2018: atrous pyramid at a sixteenth, joined with a quarter-resolution map of few channels.

    With plain 3x3 convolutions; the separable ones belong to its Xception form.
    """

    def __init__(self, model: Model, channels: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.encoder = _sixteenth(model, channels)
        self.quarter = self.encoder.strides.index(4)
        pyramid, few = 4 * model.width, max(1, 3 * model.width // 4)
        self.atrous = AtrousPyramid(self.encoder.channels[-1], pyramid, model.norm)
        self.detail = ConvNormAct(self.encoder.channels[self.quarter], few, model.norm, kernel=1)
        self.merge = DoubleConv(pyramid + few, pyramid, model.norm)
        self.mask = nn.Conv2d(pyramid, 1, 1)

    def forward(self, x: Tensor) -> Prediction:
        maps = self.encoder(x)
        joined = torch.cat([upsample(self.atrous(maps[-1]), 4), self.detail(maps[self.quarter])], dim=1)
        return Prediction([_to_size(self.mask(self.merge(joined)), x)], None, {})


def _sixteenth(model: Model, channels: int) -> ResNetEncoder:
    """The deepest map at a sixteenth: by the stem without stride, or by dilating the last stage."""
    assert model.encoder is not None
    assert model.width is not None
    assert model.norm is not None
    strided = model.depth == 5
    return ResNetEncoder(
        model.encoder,
        channels,
        model.width,
        model.norm,
        stem_stride=2 if strided else 1,
        dilated=strided,
        dropout=model.dropout,
        weights=model.weights,
    )


class AtrousPyramid(nn.Module):
    """A pixel, its surroundings at three distances, and the image as a whole (which one pixel cannot
    normalise, hence no norm there)."""

    def __init__(self, inputs: int, outputs: int, norm: NormName) -> None:
        super().__init__()
        self.near = ConvNormAct(inputs, outputs, norm, kernel=1)
        self.far = nn.ModuleList(ConvNormAct(inputs, outputs, norm, dilation=rate) for rate in RATES)
        self.whole = nn.Conv2d(inputs, outputs, 1)
        self.project = ConvNormAct(5 * outputs, outputs, norm, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(x.mean((2, 3), keepdim=True)).relu().expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([self.near(x), *(far(x) for far in self.far), whole], dim=1))


class UnetPlusPlus(nn.Module):
    """Nested U-Net (Zhou et al. 2018): node (i, j) reads all earlier nodes of level i and the one below.

    The finest level has half the encoder's channels: at full resolution they cost most, and so the FLOPs come
    near the printed ones. With deep supervision every node of the finest level gives a mask, the last one
    last.
    """

    def __init__(self, model: Model, channels: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.encoder = make_encoder(model, channels)
        self.strided = model.depth == 5
        given = self.encoder.channels
        widths = [max(FEWEST, model.width // 2), model.width, 2 * model.width, 4 * model.width]
        self.nodes = nn.ModuleDict()
        for j in range(1, 5):
            for i in range(5 - j):
                below = given[i + 1] if j == 1 else widths[i + 1]
                self.nodes[f"{i}_{j}"] = DoubleConv(
                    given[i] + (j - 1) * widths[i] + below, widths[i], model.norm
                )
        first = 1 if model.deep_supervision else 4
        self.masks = nn.ModuleDict({str(j): nn.Conv2d(widths[0], 1, 1) for j in range(first, 5)})

    def forward(self, x: Tensor) -> Prediction:
        rows = [[m] for m in self.encoder(x)]
        for j in range(1, 5):
            for i in range(5 - j):
                inputs = torch.cat([*rows[i], upsample(rows[i + 1][j - 1])], dim=1)
                rows[i].append(self.nodes[f"{i}_{j}"](inputs))
        return Prediction([_to_size(head(rows[0][int(j)]), x) for j, head in self.masks.items()], None, {})


def _to_size(mask: Tensor, x: Tensor) -> Tensor:
    """mask: [B, 1, h, w] -> [B, 1, H, W] of the images"""
    if mask.shape[-2:] == x.shape[-2:]:
        return mask
    return F.interpolate(mask, size=x.shape[-2:], mode="bilinear", align_corners=False)


def fcn(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return Fcn(model, channels)


def fpn(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return Fpn(model, channels)


def deeplabv3plus(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return DeepLabV3Plus(model, channels)


def unetpp(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return UnetPlusPlus(model, channels)
