"""The multi-branch U-Net of Adityan et al. 2023: mask, class, and the image drawn again from the bottleneck.

The branch that reconstructs has no skip connections: with them it could copy the image past the bottleneck
and would regularise nothing. It mirrors the encoder and ends without activation, since inputs may be
standardised.
"""

from itertools import pairwise

from torch import Tensor, nn

from engine.models.blocks import DoubleConv
from engine.models.contract import Prediction
from engine.models.multitask import MultiTask
from engine.models.unet import widths_of
from engine.spec.model import Model


class Reconstruction(nn.Sequential):
    """bottleneck [B, C, h, w] -> image [B, channels, H, W]"""

    def __init__(self, model: Model, channels: int) -> None:
        assert model.norm is not None
        layers: list[nn.Module] = []
        for a, b in pairwise(widths_of(model)[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 2, stride=2), DoubleConv(b, b, model.norm)]
        assert model.width is not None
        super().__init__(*layers, nn.Conv2d(model.width, channels, 1))


class Adityan(nn.Module):
    """Two branches as in any multi-task U-Net, and the reconstruction beside them."""

    def __init__(self, model: Model, channels: int, classes: int) -> None:
        super().__init__()
        self.network = MultiTask(model, channels, classes)
        self.draw = Reconstruction(model, channels)

    def forward(self, x: Tensor) -> Prediction:
        features = self.network.backbone(x)
        prediction = self.network.predict(features)
        return prediction._replace(aux={"reconstruction": self.draw(features.bottleneck)})


def build(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return Adityan(model, channels, classes)
