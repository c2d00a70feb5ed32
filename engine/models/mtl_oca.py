"""MTL-OCA (Lu et al. 2025): a Res-UNet, object-contextual attention for the mask, a classifier beside it.

What the paper leaves open follows the object-contextual representations that it cites (Yuan et al. 2020):
the soft regions are normalised over the pixels before they gather features, pixels and regions are compared
through two 1 x 1 convolutions each and a scaled dot product, and the context is fused with the pixels by a
1 x 1 convolution. Widths follow the network's own: pixels and context have 2 x width channels, and they are
compared in width channels.
"""

import torch
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, norm_for_pooling
from engine.models.contract import Prediction
from engine.models.features import Features
from engine.models.heads import PooledHead, build_head, hidden_of
from engine.models.multitask import build_backbone
from engine.spec.model import Model, NormName

REGIONS = 2  # background and lesion


class ObjectContext(nn.Module):
    """x: [B, C, H, W] -> (refined [B, outputs, H, W], soft regions as logits [B, 2, H, W])."""

    def __init__(self, inputs: int, outputs: int, key: int, norm: NormName) -> None:
        super().__init__()
        self.regions = nn.Sequential(ConvNormAct(inputs, inputs, norm), nn.Conv2d(inputs, REGIONS, 1))
        self.pixels = ConvNormAct(inputs, outputs, norm)
        self.query = _transform(outputs, key, norm)
        self.key = _transform(outputs, key, norm_for_pooling(norm))
        self.value = ConvNormAct(outputs, key, norm_for_pooling(norm), kernel=1)
        self.context = ConvNormAct(key, outputs, norm, kernel=1)
        self.fuse = ConvNormAct(2 * outputs, outputs, norm, kernel=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        regions, pixels = self.regions(x), self.pixels(x)
        objects = gather(pixels, regions)  # f_k: [B, C, 2, 1]
        weights = relate(self.query(pixels), self.key(objects))  # w_ik: [B, HW, 2]
        gathered = weights @ self.value(objects).flatten(2).transpose(1, 2)  # [B, HW, key]
        context = self.context(gathered.transpose(1, 2).unflatten(2, x.shape[-2:]))
        return self.fuse(torch.cat([context, pixels], dim=1)), regions


def gather(pixels: Tensor, regions: Tensor) -> Tensor:
    """Each region's mean feature: pixels [B, C, H, W], regions [B, K, H, W] -> [B, C, K, 1]."""
    share = regions.flatten(2).softmax(dim=2)
    return (pixels.flatten(2) @ share.transpose(1, 2)).unsqueeze(3)


def relate(query: Tensor, key: Tensor) -> Tensor:
    """How much each pixel belongs to each region: query [B, C, H, W], key [B, C, K, 1] -> [B, HW, K]."""
    likeness = query.flatten(2).transpose(1, 2) @ key.flatten(2)
    return (likeness * query.shape[1] ** -0.5).softmax(dim=2)


def _transform(inputs: int, outputs: int, norm: NormName) -> nn.Module:
    return nn.Sequential(
        ConvNormAct(inputs, outputs, norm, kernel=1), ConvNormAct(outputs, outputs, norm, kernel=1)
    )


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
