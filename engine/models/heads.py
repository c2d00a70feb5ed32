"""What classifiers read: each head takes any backbone's `Features` and returns logits [B, classes].

Every head passes the map that decides through `seen`, which is where Grad-CAM looks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.acsnet import StagesHead
from engine.models.blocks import ConvNormAct, Mlp, mean_and_max, norm_for_pooling
from engine.models.features import Channels, Features
from engine.spec.model import Model

HIDDEN = 8  # neurons of the layer before the last, in units of the width: 256 at a width of 32
MERGED = 16  # channels that merged maps are brought to: 512 at a width of 32


class PooledHead(nn.Module):
    """Reads one map, whichever it is given: [B, C, h, w] -> [B, classes]."""

    def __init__(self, inputs: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.mlp = Mlp(2 * inputs, hidden, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(mean_and_max(self.seen(x)))


class BottleneckHead(nn.Module):
    """Reads the deepest map."""

    def __init__(self, channels: Channels, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.mlp = Mlp(2 * channels.bottleneck, hidden, classes, dropout)

    def forward(self, features: Features) -> Tensor:
        return self.mlp(mean_and_max(self.seen(features.bottleneck)))


class BackboneFeaturesHead(nn.Module):
    """Reads the map that the mask is read from: the whole network, not the encoder alone."""

    def __init__(self, channels: Channels, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.mlp = Mlp(2 * channels.decoder[-1], hidden, classes, dropout)

    def forward(self, features: Features) -> Tensor:
        return self.mlp(mean_and_max(self.seen(features.decoder[-1])))


class MultiScaleHead(nn.Module):
    """Pools every level of the encoder and the bottleneck."""

    def __init__(self, channels: Channels, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.mlp = Mlp(2 * (sum(channels.encoder) + channels.bottleneck), hidden, classes, dropout)

    def forward(self, features: Features) -> Tensor:
        maps = [*features.encoder, self.seen(features.bottleneck)]
        return self.mlp(torch.cat([mean_and_max(x) for x in maps], dim=1))


class FeatureProcessingHead(nn.Module):
    """The bottleneck brought to the level above, beside that level's encoder and decoder maps, and one
    convolution over all three. Without a decoder (classification alone) there are two maps to merge."""

    def __init__(self, channels: Channels, model: Model, classes: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        inputs = channels.bottleneck + channels.encoder[-1] + sum(channels.decoder[:1])
        merged = MERGED * model.width
        self.seen = ConvNormAct(inputs, merged, norm_for_pooling(model.norm))
        self.mlp = Mlp(merged, hidden_of(model), classes, model.dropout)

    def forward(self, features: Features) -> Tensor:
        beside = [features.encoder[-1], *features.decoder[:1]]
        raised = F.interpolate(features.bottleneck, size=beside[0].shape[-2:], mode="bilinear")
        return self.mlp(self.seen(torch.cat([raised, *beside], dim=1)).mean((2, 3)))


def hidden_of(model: Model) -> int:
    """Neurons before the last layer; a narrow network keeps enough of them to learn."""
    assert model.width is not None
    return max(16, HIDDEN * model.width)


def build_head(model: Model, channels: Channels, classes: int) -> nn.Module:
    hidden = hidden_of(model)
    if model.head == "bottleneck":
        return BottleneckHead(channels, hidden, classes, model.dropout)
    if model.head == "multi-scale":
        return MultiScaleHead(channels, hidden, classes, model.dropout)
    if model.head == "feature-processing":
        return FeatureProcessingHead(channels, model, classes)
    if model.head in ("stage-5", "stages-4-5-6"):
        return StagesHead(channels, model, classes)
    return BackboneFeaturesHead(channels, hidden, classes, model.dropout)
