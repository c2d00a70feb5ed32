"""VGG-16's convolutions as a frozen feature extractor, for losses that compare features.

Simonyan and Zisserman 2015, in torchvision's key layout (`features.0.weight`, …).
"""

import torch
from torch import Tensor, nn

from engine.models.weights import load_weights

BLOCKS = (2, 2, 3, 3, 3)  # convolutions per block, a pooling between blocks
MULTIPLES = (1, 2, 4, 8, 8)  # channels per block in units of the width


class VggFeatures(nn.Module):
    """Maps after the last ReLU of each of the first `levels` blocks, at 1/1, 1/2, 1/4, 1/8 of the input.

    Frozen: its parameters take no gradient, its input does. With `weights="none"` the filters are random but
    always the same ones, whatever the global seed: such a loss then still means the same thing in every run.
    """

    def __init__(self, levels: int = 4, weights: str = "none", width: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            layers, self.taps = _layers(levels, width)
        self.features = nn.Sequential(*layers)
        _draw(self.features, seed)
        if weights != "none":
            self._load(weights)
        self.requires_grad_(False)
        self.eval()

    def _load(self, weights: str) -> None:
        """A file holds all of VGG-16; what lies beyond our levels is let pass like a classifier head."""
        beyond = tuple(f"features.{index}." for index in range(len(self.features), 31))
        load_weights(self, weights, "vgg16", head=("classifier.", *beyond))

    def train(self, mode: bool = True) -> "VggFeatures":
        """Stays in evaluation mode: it is a ruler, not a part of the model."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, 3, H, W] in [0, 1], or [B, 1, H, W], which is repeated -> `levels` maps."""
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _layers(levels: int, width: int) -> tuple[list[nn.Module], tuple[int, ...]]:
    layers: list[nn.Module] = []
    taps = []
    inputs = 3
    for count, multiple in zip(BLOCKS[:levels], MULTIPLES[:levels], strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, multiple * width, 3, padding=1), nn.ReLU()]
            inputs = multiple * width
        taps.append(len(layers) - 1)
        layers.append(nn.MaxPool2d(2))
    return layers[:-1], tuple(taps)


def _draw(features: nn.Module, seed: int) -> None:
    """He-normal filters from a generator of their own, so that the global seed does not matter."""
    generator = torch.Generator().manual_seed(seed)
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
