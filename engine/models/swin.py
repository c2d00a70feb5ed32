"""MONAI's SwinUNETR from its own parts.

MONAI's class knows five levels only; put together here from the same parts it takes any depth. At five levels
it has MONAI's parameters and gives MONAI's numbers, which a test holds.
"""

import torch.nn.functional as F
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from engine.models.features import Channels, Features, Trunk, supervised
from engine.models.monai_parts import norm_of
from engine.spec.model import Model

WINDOW = (7, 7)
HEADS = 3  # of the first stage; doubled with every further one
BLOCKS = 2  # attention blocks per stage


class SwinUnetr(Trunk):
    """The patch embedding halves the resolution, and each stage of shifted-window attention halves it again.
    Level 0 is the image itself; the deepest skip goes up as it is, the others through a residual block."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__(model.dropout)
        assert model.depth is not None
        assert model.width is not None
        widths = [model.width, *(model.width * 2**level for level in range(model.depth))]
        self.embed, self.stages = _attention(channels, model.width, model.depth - 1)
        self.bottom = _block(model, widths[-1], widths[-1])
        self.skips, self.up = nn.ModuleList(), nn.ModuleList()
        self.channels = Channels(widths[1:-1], widths[-1], [], [])
        if decodes:
            self._add_decoder(model, channels, widths)

    def _add_decoder(self, model: Model, channels: int, widths: list[int]) -> None:
        inputs = [channels, *widths[1:-2]]
        blocks = [_block(model, a, b) for a, b in zip(inputs, widths, strict=False)]
        self.skips.extend([*blocks, nn.Identity()])
        rising = widths[-2::-1]
        for a, b in zip(widths[:0:-1], rising, strict=True):
            self.up.append(UnetrUpBlock(2, a, b, 3, 2, norm_of(model, b), res_block=True))
        self.channels = Channels(widths[:-1], widths[-1], rising, supervised(rising))

    def forward(self, x: Tensor) -> Features:
        hidden = [self.embed(x)]
        for stage in self.stages:
            hidden.append(stage(hidden[-1].contiguous()))
        maps = [_normalised(one) for one in hidden]
        bottleneck = deeper = self.dropout(self.bottom(maps[-1]))
        skips = [skip(one) for skip, one in zip(self.skips, [x, *maps], strict=False)]
        decoded: list[Tensor] = []
        for up, skip in zip(self.up, reversed(skips), strict=True):
            deeper = up(deeper, skip)
            decoded.append(deeper)
        return Features(skips or maps[:-1], bottleneck, decoded, supervised(decoded))


def _attention(channels: int, width: int, stages: int) -> tuple[nn.Module, nn.ModuleList]:
    """MONAI's patch embedding and its stages, each kept in a list of one."""
    swin = SwinTransformer(
        in_chans=channels,
        embed_dim=width,
        window_size=WINDOW,
        patch_size=(2, 2),
        depths=(BLOCKS,) * stages,
        num_heads=[HEADS * 2**stage for stage in range(stages)],
        spatial_dims=2,
    )
    kept = [swin.layers1, swin.layers2, swin.layers3, swin.layers4][:stages]
    return swin.patch_embed, nn.ModuleList(layers[0] for layers in kept)


def _block(model: Model, inputs: int, outputs: int) -> nn.Module:
    return UnetrBasicBlock(2, inputs, outputs, 3, 1, norm_of(model, outputs), res_block=True)


def _normalised(x: Tensor) -> Tensor:
    """Layer norm over the channels of each pixel, without scale or shift: [B, C, h, w] -> the same."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


def swin_unetr(model: Model, channels: int, decodes: bool) -> Trunk:
    return SwinUnetr(model, channels, decodes)
