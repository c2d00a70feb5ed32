"""Supervision of the coarse regions from which a model of object context gathers its region vectors."""

from torch import Tensor

from engine.losses.cross_entropy import mask_cross_entropy
from engine.losses.deep_supervision import truth_at


def soft_region_loss(regions: Tensor, truth: Tensor) -> Tensor:
    """regions: [B, 2, h, w] logits of background and lesion -> cross-entropy over the two, mean over pixels.

    The regions may be coarser than the truth [B, 1, H, W], which is then read at their size. Over two regions
    only the difference of the logits counts; taken so, the sum has one order on a GPU as well.
    """
    background, lesion = regions.float().split(1, dim=1)
    return mask_cross_entropy(lesion - background, truth_at(truth, regions))
