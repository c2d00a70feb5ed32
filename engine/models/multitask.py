"""Any backbone with a mask head, any classification head, or both."""

from torch import Tensor, nn

from engine.models.contract import Prediction
from engine.models.features import Features, Trunk
from engine.models.heads import build_head
from engine.models.registry import BACKBONES, load
from engine.spec.model import Model


class MultiTask(nn.Module):
    """Builds what `model.tasks` needs and no more. With deep supervision the masks of all levels are
    returned, coarse to fine, in training and in evaluation alike, so that both losses mean the same."""

    def __init__(self, model: Model, channels: int, classes: int) -> None:
        super().__init__()
        tasks = model.tasks or ()
        decodes = "segment" in tasks or model.head == "backbone-features"
        self.backbone = build_backbone(model, channels, decodes)
        sides = self.backbone.channels.sides if "segment" in tasks else []
        used = sides if model.deep_supervision else sides[-1:]
        self.masks = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in used)
        self.classifier = build_head(model, self.backbone.channels, classes) if "classify" in tasks else None

    def forward(self, x: Tensor) -> Prediction:
        return self.predict(self.backbone(x))

    def predict(self, features: Features) -> Prediction:
        """features -> masks [B, 1, h, w], logits [B, classes]"""
        sides = features.sides[-len(self.masks) :] if len(self.masks) else []
        masks = [head(side) for head, side in zip(self.masks, sides, strict=True)]
        if self.classifier is None:
            return Prediction(masks, None, {})
        return Prediction(masks, self.classifier(features), {})


def build_backbone(model: Model, channels: int, decodes: bool) -> Trunk:
    """One that does not decode has neither decoder maps nor side maps."""
    assert model.backbone is not None
    trunk: Trunk = load(BACKBONES[model.backbone].build)(model, channels, decodes)
    if not decodes:
        trunk.channels = trunk.channels._replace(decoder=[], sides=[])
    return trunk


def build(model: Model, channels: int, classes: int, size: int) -> nn.Module:
    return MultiTask(model, channels, classes)
