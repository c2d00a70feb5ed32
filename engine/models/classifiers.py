"""The classifiers of the two-stage system's second stage: what they see is decided by the stage's `feed`.

DeepCardinal-50 (Li et al. 2025) is ResNeXt-50 32x4d by its description (32 groups of 4 channels), although
its text also speaks of a pretrained ResNet-34 and of two classes.
"""

from torch import Tensor, nn

from engine.models.alexnet import AlexNet
from engine.models.contract import Prediction
from engine.models.resnet import ResNet
from engine.spec.model import Model


class Classifier(nn.Module):
    """A network that gives logits, as a model that gives a `Prediction` without masks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Prediction:
        return Prediction([], self.network(x), {})


def resnet(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    """ResNet or ResNeXt, as `model.encoder` says."""
    assert model.encoder is not None
    assert model.width is not None
    assert model.norm is not None
    network = ResNet(model.encoder, channels, classes, model.width, model.norm, model.dropout, model.weights)
    return Classifier(network)


def alexnet(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    assert model.width is not None
    return Classifier(AlexNet(channels, classes, model.width, model.dropout, model.weights))
