"""The multi-task peers of ACSNet that are more than a U-Net with a classifier on its bottleneck.

The paper names them, its reference list describes other tasks than ours (bone surfaces, cell nuclei), and it
prints their FLOPs and parameters. What follows keeps the idea of each over the common ResNet U-Net; the third
peer, `chen_mtl`, is that U-Net with a bottleneck classifier, the same builder as `mt_dunet`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, DoubleConv
from engine.models.contract import Prediction
from engine.models.features import Features
from engine.models.multitask import MultiTask
from engine.models.row import SEGMENT
from engine.spec.model import Model, NormName

READ = 1  # the second decoder map, at an eighth of the resolution where the stem halves it


class WangMtl(nn.Module):
    """Wang et al. 2018: a small network enhances the image, and the multi-task network sees both.

    Inferred: five convolutions at full resolution (the printed FLOPs exceed a U-Net's by about as much), the
    enhanced image as one more channel, the classifier on the bottleneck. The published network also reads
    phase-filtered images of bone, which have no counterpart here.
    """

    def __init__(self, model: Model, channels: int, classes: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.enhance = _enhancer(channels, model.width, model.norm)
        self.network = MultiTask(model, channels + 1, classes)

    def forward(self, x: Tensor) -> Prediction:
        return self.network(torch.cat([x, self.enhance(x)], dim=1))


def _enhancer(channels: int, width: int, norm: NormName) -> nn.Sequential:
    """x: [B, C, H, W] -> [B, 1, H, W] in [0, 1], like an image"""
    return nn.Sequential(
        ConvNormAct(channels, width, norm),
        DoubleConv(width, width, norm),
        DoubleConv(width, width, norm),
        nn.Conv2d(width, 1, 1),
        nn.Sigmoid(),
    )


class QuMtl(MultiTask):
    """Qu et al. 2019: one encoder and decoder segments and classifies at once, pixel by pixel.

    Inferred: an image has one label where a slide has one per nucleus, so the logits are the mean of the
    class maps' pixels, weighted by how much each is lesion. The class maps are read at an eighth of the
    resolution, since the full one has too few channels to tell classes apart.
    """

    def __init__(self, model: Model, channels: int, classes: int) -> None:
        assert model.width is not None
        assert model.norm is not None
        super().__init__(model.model_copy(update={"tasks": SEGMENT}), channels, classes)
        inputs = self.backbone.channels.decoder[READ]
        wanted = "classify" in (model.tasks or ())
        self.classifier = PixelClasses(inputs, 2 * model.width, classes, model.norm) if wanted else None

    def predict(self, features: Features) -> Prediction:
        masks = [self.masks[-1](features.sides[-1])]
        if self.classifier is None:
            return Prediction(masks, None, {})
        return Prediction(masks, self.classifier(features.decoder[READ], masks[-1]), {})


class PixelClasses(nn.Module):
    """x: [B, C, h, w], mask: [B, 1, H, W] logits -> [B, classes]. The weights always sum to one, however
    faint the lesion, so that an image without one still gets its logits."""

    def __init__(self, inputs: int, width: int, classes: int, norm: NormName) -> None:
        super().__init__()
        self.seen = ConvNormAct(inputs, width, norm)
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        lesion = F.avg_pool2d(mask.float().sigmoid(), mask.shape[-1] // x.shape[-1])
        weights = lesion / lesion.sum((2, 3), keepdim=True).clamp(min=1e-6)
        return (self.classes(self.seen(x)) * weights).sum((2, 3))


def wang(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return WangMtl(model, channels, classes)


def qu(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return QuMtl(model, channels, classes)
