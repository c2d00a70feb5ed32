"""Two networks in a row: what the second is shown of the first one's mask, and both as one model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.contract import Prediction
from engine.models.registry import build
from engine.spec.model import Model
from engine.spec.two_stage import Feed, TwoStage

COVER = 0.5  # how strongly the overlay covers the image
STEPS = 255  # a first stage's probability is kept as a byte; 0.5 lies between two of them


class Fed(nn.Module):
    """A classifier that reads an image with a mask as its last channel. x: [B, C + 1, H, W]"""

    def __init__(self, network: nn.Module, feed: Feed, margin: float) -> None:
        super().__init__()
        self.network, self.feed, self.margin = network, feed, margin

    def forward(self, x: Tensor) -> Prediction:
        found: Prediction = self.network(self.shown(x))
        return found

    def shown(self, x: Tensor) -> Tensor:
        images, masks = x[:, :-1], (x[:, -1:] > 0.5).to(x.dtype)
        if self.feed == "channel":
            return torch.cat([images, masks], 1)
        if self.feed == "overlay":
            return overlaid(images, masks)
        return cropped(images, masks, self.margin)

    def placed(self, heat: Tensor, x: Tensor) -> Tensor:
        """heat: [B, H, W] over what was shown -> over the whole image; 0 where it did not look."""
        if self.feed != "crop":
            return heat
        scale, centre = windows((x[:, -1] > 0.5).to(x.dtype), self.margin)
        return _sampled(heat[:, None], 1 / scale, -centre / scale[:, None], "zeros")[:, 0]


def overlaid(images: Tensor, masks: Tensor) -> Tensor:
    """The lesion is drawn towards the image's own brightest value, whatever it is normalised to."""
    brightest = images.amax((2, 3), keepdim=True)
    return images + COVER * masks * (brightest - images)


def cropped(images: Tensor, masks: Tensor, margin: float) -> Tensor:
    """A square about the lesion, stretched to full size; the whole image where there is no lesion."""
    scale, centre = windows(masks[:, 0], margin)
    return _sampled(images, scale, centre, "border")


def _sampled(images: Tensor, scale: Tensor, centre: Tensor, outside: str) -> Tensor:
    theta = images.new_zeros(images.shape[0], 2, 3)  # `len` would fix an exported program's batch
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def windows(masks: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """masks: [B, H, W] -> half sides [B] and centres [B, 2] (x, y), in -1..1 as `grid_sample` counts."""
    spans = [_span(masks.amax(axis)) for axis in (1, 2)]  # along x, along y
    low, high = (torch.stack([span[end] for span in spans], 1) for end in (0, 1))
    empty = (high <= low).any(1)
    side = (high - low).amax(1) * (1 + 2 * margin)
    scale = torch.where(empty, torch.ones_like(side), side.clamp(max=2.0) / 2)
    reach = (1 - scale)[:, None]
    centre = torch.where(empty[:, None], torch.zeros_like(low), (low + high) / 2)
    return scale, torch.minimum(torch.maximum(centre, -reach), reach)


def _span(line: Tensor) -> tuple[Tensor, Tensor]:
    """line: [B, n] of 0/1 -> where its ones begin and end, in -1..1; nothing at all is 1 to -1."""
    edges = torch.linspace(-1, 1, line.shape[1] + 1, device=line.device, dtype=line.dtype)
    first = torch.where(line > 0, edges[:-1], edges.new_tensor(1.0)).amin(1)
    last = torch.where(line > 0, edges[1:], edges.new_tensor(-1.0)).amax(1)
    return first, last


class TwoStages(nn.Module):
    """image -> the first one's masks and what the second one says of them, as one model of both tasks."""

    def __init__(self, segmenter: nn.Module, classifier: Fed, threshold: float) -> None:
        super().__init__()
        self.segmenter, self.classifier, self.threshold = segmenter, classifier, threshold

    def forward(self, x: Tensor) -> Prediction:
        masks = self.segmenter(x).masks
        return Prediction(masks, self.classifier(torch.cat([x, self._drawn(masks, x)], 1)).logits, {})

    def _drawn(self, masks: list[Tensor], x: Tensor) -> Tensor:
        """Cut after the rounding that masks on storage went through, so that the second one sees here what it
        saw when it was trained and tested."""
        kept = torch.round(torch.sigmoid(masks[-1]) * STEPS) / STEPS
        return (kept > self.threshold).to(x.dtype)

    def placed(self, heat: Tensor, x: Tensor) -> Tensor:
        """heat: [B, H, W] over what the second one was shown -> over the image x; 0 where it did not look."""
        return self.classifier.placed(heat, torch.cat([x, self._drawn(self.segmenter(x).masks, x)], 1))


def build_second(model: Model, two: TwoStage, channels: int, classes: int, size: int) -> Fed:
    """`channels` are those of the image alone."""
    seen = channels + (two.feed == "channel")
    return Fed(build(model, seen, classes, size), two.feed, two.margin)
