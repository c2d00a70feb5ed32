"""The parts of ACSNet (He et al. 2024) that a U-Net has not: gate unit, deformable attention, classifier.

The network itself is the ResNet U-Net of `resnet_unet.py` under `multitask.py`; its ablations are switches.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, Mlp, norm_for_pooling, normalise
from engine.models.deform import DeformConv
from engine.models.features import Channels, Features
from engine.spec.model import Model, NormName

REDUCTION = 16  # channel attention squeezes to a sixteenth, as squeeze-and-excitation does
HIDDEN = 4  # neurons between the two fully connected layers, in units of the width: 256 at 64
FUSED = 8  # channels of the fused stages, in units of the width: stage 5's own 512 at 64


class GateUnit(nn.Module):
    """How much of an encoder map passes to the decoder: one number from the mean of a learned map (is there
    something at large?) and one from the peak of another (is there something anywhere?).

    The 3x3 convolution after it has neither norm nor activation, as the paper's equation is written. A group
    norm there would divide each image by its own scale, and so undo the gate exactly.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.looks = nn.Conv2d(channels, 2, 3, padding=1)
        self.refine = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the same shape"""
        looks = self.looks(x).sigmoid()
        gate = looks[:, :1].mean((2, 3), keepdim=True) + looks[:, 1:].amax((2, 3), keepdim=True)
        return self.refine(x * gate)


class DeformableAttention(nn.Module):
    """The DSAModule: deformable convolution, two spatial attentions of the result, and a second deformable
    convolution over both. Norm and ReLU follow the second one only: the equations show none in between."""

    def __init__(self, channels: int, norm: NormName) -> None:
        super().__init__()
        self.first = DeformConv(channels, channels)
        self.mean_attention = nn.Conv2d(1, 1, 3, padding=1)
        self.peak_attention = nn.Conv2d(1, 1, 3, padding=1)
        self.second = DeformConv(2 * channels, channels, bias=False)
        self.norm = normalise(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the same shape"""
        x = self.first(x)
        mean = self.mean_attention(x.mean(1, keepdim=True)).sigmoid()
        peak = self.peak_attention(x.amax(1, keepdim=True)).sigmoid()
        return F.relu(self.norm(self.second(torch.cat([x * mean, x * peak], dim=1))))


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): each channel scaled by what all of them contain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(2, channels // REDUCTION)
        self.excite = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(x.mean((2, 3))).sigmoid()[:, :, None, None]


class StagesHead(nn.Module):
    """Class logits from stage 5 (the deepest map), or from stages 4, 5 and 6 (the maps at twice its
    resolution before and after it), each recalibrated by channel attention where that is on.

    Stages 4 and 6 are averaged down to stage 5's resolution, and all are fused by one 3x3 convolution: the
    paper says fused, not how. Without a decoder there is no stage 6, and 4 and 5 are fused.
    """

    def __init__(self, channels: Channels, model: Model, classes: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.merges = model.head == "stages-4-5-6"
        widths = [channels.bottleneck]
        if self.merges:
            widths += [channels.encoder[-1], *channels.decoder[:1]]
        self.attention = nn.ModuleList(
            ChannelAttention(width) if model.channel_attention else nn.Identity() for width in widths
        )
        fused = FUSED * model.width if self.merges else channels.bottleneck
        norm = norm_for_pooling(model.norm)
        self.seen = ConvNormAct(sum(widths), fused, norm) if self.merges else nn.Identity()
        self.mlp = Mlp(fused, HIDDEN * model.width, classes, model.dropout)

    def forward(self, features: Features) -> Tensor:
        maps = [features.bottleneck]
        if self.merges:
            maps += [features.encoder[-1], *features.decoder[:1]]
        attended = [attention(x) for attention, x in zip(self.attention, maps, strict=True)]
        same_size = [attended[0], *(F.avg_pool2d(x, 2) for x in attended[1:])]
        return self.mlp(self.seen(torch.cat(same_size, dim=1)).mean((2, 3)))
