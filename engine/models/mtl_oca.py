"""MTL-OCA (Lu et al. 2025): a Res-UNet, object-contextual attention for the mask, a classifier beside it.

Widths follow the network's own: pixels and context have 2 x width channels, and they are compared in width
channels.
"""

from torch import Tensor, nn

from engine.models.attention import ObjectContext
from engine.models.contract import Prediction
from engine.models.features import Features
from engine.models.heads import PooledHead, build_head, hidden_of
from engine.models.multitask import build_backbone
from engine.spec.model import Model


class MtlOca(nn.Module):
    """With `oca` off the backbone's features make the mask; `head` says what the classifier reads."""

    def __init__(self, model: Model, channels: int, classes: int) -> None:
        super().__init__()
        assert model.width is not None
        assert model.norm is not None
        self.backbone = build_backbone(model, channels, decodes=True)
        inputs = self.backbone.channels.sides[-1]
        refined = 2 * model.width if model.oca else inputs
        self.object_context = ObjectContext(inputs, refined, model.width, model.norm) if model.oca else None
        self.mask = nn.Conv2d(refined, 1, 1)
        self.on_refined = model.head == "refined-features"
        self.classifier: nn.Module | None = None
        if "classify" in (model.tasks or ()):
            self.classifier = self._head(model, refined, classes)

    def _head(self, model: Model, refined: int, classes: int) -> nn.Module:
        if self.on_refined:
            return PooledHead(refined, hidden_of(model), classes, model.dropout)
        return build_head(model, self.backbone.channels, classes)

    def forward(self, x: Tensor) -> Prediction:
        features = self.backbone(x)
        refined, aux = features.sides[-1], {}
        if self.object_context is not None:
            refined, aux["soft_regions"] = self.object_context(refined)
        return Prediction([self.mask(refined)], self._classify(features, refined), aux)

    def _classify(self, features: Features, refined: Tensor) -> Tensor | None:
        if self.classifier is None:
            return None
        return self.classifier(refined if self.on_refined else features)


def build(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return MtlOca(model, channels, classes)
