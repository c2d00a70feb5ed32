"""Supervision of the coarse regions from which a model of object context gathers its region vectors."""

import torch.nn.functional as F
from torch import Tensor

from engine.losses.deep_supervision import truth_at


def soft_region_loss(regions: Tensor, truth: Tensor) -> Tensor:
    """regions: [B, 2, h, w] logits of background and lesion -> cross-entropy over the two, mean over pixels.

    The regions may be coarser than the truth [B, 1, H, W], which is then read at their size.
    """
    target = truth_at(truth, regions).squeeze(1).round().long()
    return F.cross_entropy(regions.float(), target)
