"""MONAI's networks taken apart by their submodules, so that any of them feeds any head.

Each is built by MONAI, then only the parts that are used are kept; the forward pass between them is written
out here instead of hooked, which keeps `torch.export` working. Importing MONAI takes two seconds, so this
module is imported only when one of these backbones is built.
"""

from collections.abc import Iterator

import torch
from monai.networks.nets.attentionunet import AttentionLayer, AttentionUnet
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from engine.models.features import Channels, Features, Trunk, supervised
from engine.models.monai_parts import norm_of, symmetric
from engine.models.unet import widths_of
from engine.spec.model import Model

LEAKY = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class _MonaiUnet(UNet):
    """MONAI's UNet, but for its last layer: it keeps norm and activation, since heads read features there."""

    def _get_up_layer(self, in_channels: int, out_channels: int, strides: int, is_top: bool) -> nn.Module:
        return super()._get_up_layer(in_channels, out_channels, strides, False)


class MonaiUnet(Trunk):
    """Strided convolutions: the first level already works at half the resolution, and the bottleneck at the
    same one as the last of them."""

    def __init__(self, model: Model, channels: int, decodes: bool, residual_units: int) -> None:
        super().__init__(model.dropout)
        widths = widths_of(model)
        net = _MonaiUnet(
            2, channels, widths[0], widths, [2] * (len(widths) - 1), num_res_units=residual_units,
            norm=norm_of(model, widths[0]),
        )  # fmt: skip
        levels = list(_unet_levels(net.model))
        self.down = nn.ModuleList(down for down, _ in levels)
        self.bottom = _innermost(net.model)
        self.up = nn.ModuleList(up for _, up in reversed(levels)) if decodes else nn.ModuleList()
        maps = [*widths[-3::-1], widths[0]]
        self.channels = Channels(widths[:-2], widths[-1], maps, supervised(maps))

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        bottleneck = x = self.dropout(self.bottom(x))
        decoded: list[Tensor] = []
        for up, skip in zip(self.up, reversed(maps), strict=False):
            x = up(torch.cat([skip, x], dim=1))
            decoded.append(x)
        return Features(maps[:-1], bottleneck, decoded, supervised(decoded))


def _unet_levels(block: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """MONAI nests its levels as Sequential(down, SkipConnection(next level or bottom), up)."""
    while isinstance(block, nn.Sequential) and len(block) == 3:
        yield block[0], block[2]
        block = block[1].submodule  # type: ignore[assignment]


def _innermost(block: nn.Module) -> nn.Module:
    while isinstance(block, nn.Sequential) and len(block) == 3:
        block = block[1].submodule  # type: ignore[assignment]
    return block


class MonaiAttentionUnet(Trunk):
    """Each skip is weighed by a gate that the coarser level opens."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__(model.dropout)
        widths = widths_of(model)
        net = AttentionUnet(2, channels, 1, widths, [2] * (len(widths) - 1))
        layers = list(_attention_layers(net.model[1]))
        self.down = nn.ModuleList([net.model[0], *(_way_down(layer) for layer in layers)])
        rising = layers[::-1] if decodes else []
        self.up = nn.ModuleList(layer.upconv for layer in rising)
        self.gate = nn.ModuleList(layer.attention for layer in rising)
        self.merge = nn.ModuleList(layer.merge for layer in rising)
        self.channels = symmetric(widths)

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        maps[-1] = x = self.dropout(x)
        decoded: list[Tensor] = []
        for up, gate, merge, skip in zip(self.up, self.gate, self.merge, maps[-2::-1], strict=False):
            raised = up(x)
            x = merge(torch.cat([gate(g=raised, x=skip), raised], dim=1))
            decoded.append(x)
        return Features(maps[:-1], maps[-1], decoded, supervised(decoded))


def _attention_layers(block: nn.Module) -> Iterator[AttentionLayer]:
    while isinstance(block, AttentionLayer):
        yield block
        below = block.submodule
        block = below[1] if isinstance(below, nn.Sequential) else below


def _way_down(layer: AttentionLayer) -> nn.Module:
    below = layer.submodule
    return below[0] if isinstance(below, nn.Sequential) else below


class MonaiSegResNet(Trunk):
    """Skips are added, not concatenated; the blocks normalise before they convolve, so the last map is
    normalised and activated once more before a head reads it."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__(model.dropout)
        widths = widths_of(model)
        net = SegResNet(
            2, widths[0], channels, 1, norm=norm_of(model, widths[0]), blocks_down=_blocks(len(widths)),
            blocks_up=(1,) * (len(widths) - 1),
        )  # fmt: skip
        self.entry = net.convInit
        self.down = net.down_layers
        self.up = net.up_samples if decodes else nn.ModuleList()
        self.refine = net.up_layers if decodes else nn.ModuleList()
        self.finish = net.conv_final[:2] if decodes else nn.Identity()
        self.channels = symmetric(widths)

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        x = self.entry(x)
        for down in self.down:
            x = down(x)
            maps.append(x)
        maps[-1] = x = self.dropout(x)
        decoded: list[Tensor] = []
        for up, refine, skip in zip(self.up, self.refine, maps[-2::-1], strict=False):
            x = refine(up(x) + skip)
            decoded.append(x)
        decoded[-1:] = [self.finish(last) for last in decoded[-1:]]
        return Features(maps[:-1], maps[-1], decoded, supervised(decoded))


def _blocks(levels: int) -> tuple[int, ...]:
    """1, 2, 2, ..., 4 residual blocks, MONAI's own choice at four levels."""
    return (1, *[2] * (levels - 2), 4)


class MonaiUnetPlusPlus(Trunk):
    """Node (i, j) lies at level i; its inputs are all nodes to its left at level i and node (i + 1, j - 1).
    The four nodes of the top row can all be supervised; a level's decoder map is its last node."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__(model.dropout)
        widths = widths_of(model)
        net = BasicUNetPlusPlus(2, channels, 1, (*widths, widths[0]), norm=norm_of(model, widths[0]))
        self.levels = len(widths)
        self.down = nn.ModuleList(net.get_submodule(f"conv_{level}_0") for level in range(self.levels))
        nodes = [f"{i}_{j}" for j in range(1, self.levels) for i in range(self.levels - j)]
        self.node = nn.ModuleDict({at: net.get_submodule(f"upcat_{at}") for at in nodes if decodes})
        rising = widths[-2::-1]
        self.channels = Channels(widths[:-1], widths[-1], rising, [widths[0]] * (self.levels - 1))

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        maps[-1] = self.dropout(maps[-1])
        if not self.node:
            return Features(maps[:-1], maps[-1], [], [])
        rows = self._fill([[encoded] for encoded in maps])
        decoded = [row[-1] for row in rows[-2::-1]]
        return Features(maps[:-1], maps[-1], decoded, rows[0][1:])

    def _fill(self, rows: list[list[Tensor]]) -> list[list[Tensor]]:
        for j in range(1, self.levels):
            for i in range(self.levels - j):
                rows[i].append(self.node[f"{i}_{j}"](rows[i + 1][j - 1], torch.cat(rows[i], dim=1)))
        return rows


class MonaiDynUnet(Trunk):
    """As nnU-Net plans a 2D network: widths double up to 512, a strided convolution starts each level."""

    def __init__(self, model: Model, channels: int, decodes: bool) -> None:
        super().__init__(model.dropout)
        widths = [min(width, 512) for width in widths_of(model)]
        steps = [1, *[2] * (len(widths) - 1)]
        net = DynUNet(
            2, channels, 1, [3] * len(widths), steps, steps[1:], widths, norm_name=norm_of(model, widths[0]),
            act_name=LEAKY,
        )  # fmt: skip
        self.down = nn.ModuleList([net.input_block, *net.downsamples, net.bottleneck])
        self.up = net.upsamples if decodes else nn.ModuleList()
        self.channels = symmetric(widths)

    def forward(self, x: Tensor) -> Features:
        maps: list[Tensor] = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        maps[-1] = x = self.dropout(x)
        decoded: list[Tensor] = []
        for up, skip in zip(self.up, maps[-2::-1], strict=False):
            x = up(x, skip)
            decoded.append(x)
        return Features(maps[:-1], maps[-1], decoded, supervised(decoded))


def unet(model: Model, channels: int, decodes: bool) -> Trunk:
    return MonaiUnet(model, channels, decodes, residual_units=0)


def res_unet(model: Model, channels: int, decodes: bool) -> Trunk:
    return MonaiUnet(model, channels, decodes, residual_units=2)


attention_unet = MonaiAttentionUnet
segresnet = MonaiSegResNet
unetpp = MonaiUnetPlusPlus
nnunet = MonaiDynUnet
