"""What looks at a map and says how much of it to go by: by channel, by place, by region, or as a whole."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.blocks import ConvNormAct, norm_for_pooling, normalise
from engine.models.deform import DeformConv
from engine.spec.model import NormName

REDUCTION = 16  # channel attention squeezes to a sixteenth, as squeeze-and-excitation does
REGIONS = 2  # background and lesion


class GateUnit(nn.Module):
    """How much of an encoder map passes to the decoder: one number from the mean of a learned map (is there
    something at large?) and one from the peak of another (is there something anywhere?).

    The 3x3 convolution after it has neither norm nor activation, as the paper's equation is written. A group
    norm there would divide each image by its own scale, and so undo the gate exactly.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.looks = nn.Conv2d(channels, 2, 3, padding=1)
        self.refine = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the same shape"""
        looks = self.looks(x).sigmoid()
        gate = looks[:, :1].mean((2, 3), keepdim=True) + looks[:, 1:].amax((2, 3), keepdim=True)
        return self.refine(x * gate)


class DeformableAttention(nn.Module):
    """The DSAModule: deformable convolution, two spatial attentions of the result, and a second deformable
    convolution over both. Norm and ReLU follow the second one only: the equations show none in between."""

    def __init__(self, channels: int, norm: NormName) -> None:
        super().__init__()
        self.first = DeformConv(channels, channels)
        self.mean_attention = nn.Conv2d(1, 1, 3, padding=1)
        self.peak_attention = nn.Conv2d(1, 1, 3, padding=1)
        self.second = DeformConv(2 * channels, channels, bias=False)
        self.norm = normalise(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the same shape"""
        x = self.first(x)
        mean = self.mean_attention(x.mean(1, keepdim=True)).sigmoid()
        peak = self.peak_attention(x.amax(1, keepdim=True)).sigmoid()
        return F.relu(self.norm(self.second(torch.cat([x * mean, x * peak], dim=1))))


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): each channel scaled by what all of them contain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(2, channels // REDUCTION)
        self.excite = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(x.mean((2, 3))).sigmoid()[:, :, None, None]


class ObjectContext(nn.Module):
    """MTL-OCA's: x: [B, C, H, W] -> (refined [B, outputs, H, W], soft regions as logits [B, 2, H, W]).

    What the paper leaves open follows the object-contextual representations that it cites (Yuan et al. 2020):
    the soft regions are normalised over the pixels before they gather features, pixels and regions are
    compared through two 1 x 1 convolutions each and a scaled dot product, and the context is fused with the
    pixels by a 1 x 1 convolution.
    """

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
