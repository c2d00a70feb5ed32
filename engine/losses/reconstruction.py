"""How far a reconstructed input is from the input: a regulariser of the shared features."""

import torch.nn.functional as F
from torch import Tensor


def reconstruction_loss(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Mean squared error over all pixels and channels of what the network was given, [B, C, H, W]."""
    return F.mse_loss(reconstructed.float(), images.float())
