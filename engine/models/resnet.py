"""ResNet and ResNeXt (He et al. 2016, Xie et al. 2017) in torchvision's key layout, thin enough for tests.

The encoder gives its maps stage by stage; the classifier adds pooling and `fc`. Two things torchvision has
not: a stem without stride, for U-shaped networks whose first stage works at full resolution, and group
normalisation, for batches of a few images.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import normalise
from engine.models.weights import load_weights
from engine.spec.model import NormName


@dataclass(frozen=True)
class Layout:
    """A row of the architecture table: `cardinality` groups of `group_width` channels at width 64."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    cardinality: int = 1
    group_width: int = 64

    @property
    def expansion(self) -> int:
        return 4 if self.bottleneck else 1


LAYOUTS: dict[str, Layout] = {
    "resnet18": Layout((2, 2, 2, 2), bottleneck=False),
    "resnet34": Layout((3, 4, 6, 3), bottleneck=False),
    "resnet50": Layout((3, 4, 6, 3), bottleneck=True),
    "resnext50_32x4d": Layout((3, 4, 6, 3), bottleneck=True, cardinality=32, group_width=4),
}


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that leaves its stride to the reading: oneDNN's own strided one writes beyond its
    memory on CPUs with AVX-512, when it goes backward in float32 through maps that lie channels last."""

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight, self.bias)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, dilation: int, norm: NormName) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, planes, stride, dilation)
        self.bn1 = normalise(norm, planes)
        self.conv2 = _conv3x3(planes, planes, 1, dilation)
        self.bn2 = normalise(norm, planes)
        self.downsample = _shortcut(inputs, planes, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 down, 3x3 (in groups for ResNeXt; the stride is here, as in torchvision), 1x1 up."""

    def __init__(
        self, inputs: int, planes: int, stride: int, dilation: int, norm: NormName, inner: int, groups: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = normalise(norm, inner)
        self.conv2 = _conv3x3(inner, inner, stride, dilation, groups)
        self.bn2 = normalise(norm, inner)
        self.conv3 = nn.Conv2d(inner, 4 * planes, 1, bias=False)
        self.bn3 = normalise(norm, 4 * planes)
        self.downsample = _shortcut(inputs, 4 * planes, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNetEncoder(nn.Module):
    """forward(x) -> the map of the stem before its pooling, then one of each stage: `layer1`, `layer2`, …

    `channels` and `strides` describe these maps. `dilated` keeps the resolution of `layer3` in `layer4`;
    `dropout` drops channels of the deepest map.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        inputs: int = 3,
        width: int = 64,
        norm: NormName = "batch",
        stem_stride: Literal[1, 2] = 2,
        dilated: bool = False,
        stages: int = 4,
        dropout: float = 0.0,
        weights: str = "none",
    ) -> None:
        super().__init__()
        layout = LAYOUTS[architecture]
        planes = [width * 2**stage for stage in range(stages)]
        self.channels = (width, *(layout.expansion * p for p in planes))
        self.strides = tuple(stem_stride * step for step in (1, 2, 4, 8, 8 if dilated else 16)[: stages + 1])
        self.conv1 = nn.Conv2d(inputs, width, 7, stem_stride, padding=3, bias=False)
        self.bn1 = normalise(norm, width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        steps = ((1, 1), (2, 1), (2, 1), (1, 2) if dilated else (2, 1))
        self.layers = [f"layer{stage + 1}" for stage in range(stages)]
        for stage, name in enumerate(self.layers):
            inputs = self.channels[stage]
            self.add_module(name, _stage(layout, stage, inputs, planes[stage], width, *steps[stage], norm))
        self.drop_map = nn.Dropout2d(dropout)
        _initialise(self)
        beyond = tuple(f"layer{number}." for number in range(stages + 1, 5))
        load_weights(self, weights, architecture, head=("fc.", *beyond))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, C, H, W] -> maps [B, channels[i], H / strides[i], W / strides[i]]"""
        maps = [F.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(maps[0])
        for name in self.layers:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return [*maps[:-1], self.drop_map(maps[-1])]


class ResNet(ResNetEncoder):
    """The whole classifier: forward(x) -> logits [B, classes]."""

    def __init__(
        self,
        architecture: str,
        inputs: int,
        classes: int,
        width: int = 64,
        norm: NormName = "batch",
        dropout: float = 0.0,
        weights: str = "none",
    ) -> None:
        super().__init__(architecture, inputs, width, norm)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.channels[-1], classes)
        load_weights(self, weights, architecture)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        deepest = super().forward(x)[-1]
        return self.fc(self.dropout(deepest.mean(dim=(2, 3))))


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )


def _shortcut(inputs: int, outputs: int, stride: int, norm: NormName) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(Pointwise(inputs, outputs, 1, stride, bias=False), normalise(norm, outputs))


def _stage(
    layout: Layout,
    stage: int,
    inputs: int,
    planes: int,
    width: int,
    stride: int,
    dilation: int,
    norm: NormName,
) -> nn.Sequential:
    """A thin ResNeXt keeps the width of its groups and gives up their number."""
    groups = max(1, layout.cardinality * width // 64)
    inner = planes * layout.group_width * layout.cardinality // 64
    blocks: list[nn.Module] = []
    for index in range(layout.blocks[stage]):
        step = stride if index == 0 else 1
        if layout.bottleneck:
            blocks.append(Bottleneck(inputs, planes, step, dilation, norm, inner, groups))
        else:
            blocks.append(BasicBlock(inputs, planes, step, dilation, norm))
        inputs = layout.expansion * planes
    return nn.Sequential(*blocks)


def _initialise(module: nn.Module) -> None:
    """A stack of bottlenecks begins as its shortcuts (Goyal et al. 2017): sixteen random branches one after
    the other drown the image, and a network trained from nothing spends its first epochs on undoing that."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    for block in module.modules():
        if isinstance(block, Bottleneck):
            nn.init.zeros_(block.bn3.get_parameter("weight"))
