"""The classifier of ACSNet (He et al. 2024).

The network itself is the ResNet U-Net of `resnet_unet.py` under `multitask.py`, with the gate units and the
deformable attention of `attention.py`; its ablations are switches.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.attention import ChannelAttention
from engine.models.blocks import ConvNormAct, Mlp, norm_for_pooling
from engine.models.features import Channels, Features
from engine.spec.model import Model

HIDDEN = 4  # neurons between the two fully connected layers, in units of the width: 256 at 64
FUSED = 8  # channels of the fused stages, in units of the width: stage 5's own 512 at 64


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
