"""Deformable convolution 3x3 (Dai et al. 2017) in plain torch, so that it runs, exports and trains anywhere.

Each of the nine taps reads the input at its usual place plus a learned offset, bilinearly, and zero outside.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 9


def deform_conv3x3(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x: [B, C, H, W]; offset: [B, 18, H, W], (dy, dx) of each tap in row-major order, in pixels;
    weight: [O, C, 3, 3] -> [B, O, H, W], stride 1 and padding 1.

    Sampling and the sum over channels are both linear, so they commute: whichever order samples fewer
    channels is taken. That is what costs, in time and in memory kept for the backward pass.
    """
    grid = sampling_grid(offset)
    if weight.shape[0] < x.shape[1]:
        return _project_then_sample(x, grid, weight, bias)
    return _sample_then_project(x, grid, weight, bias)


def sampling_grid(offset: Tensor) -> Tensor:
    """offset: [B, 18, H, W] -> [B, 9, H, W, 2]: (x, y) of each tap in the range of `grid_sample`.

    At least float32: in bfloat16 a column beyond 256 could only be even."""
    height, width = offset.shape[-2:]
    offset = offset if offset.dtype == torch.float64 else offset.float()
    tap = torch.arange(TAPS, device=offset.device)
    y = _places(torch.div(tap, 3, rounding_mode="floor") - 1, height, offset.dtype).unsqueeze(2)
    x = _places(tap % 3 - 1, width, offset.dtype).unsqueeze(1)
    return torch.stack([x + offset[:, 1::2] * (2 / width), y + offset[:, 0::2] * (2 / height)], dim=-1)


def _places(shift: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """shift: [9] -> [9, length]: where each tap looks along one axis before it is moved, a pixel's centre
    being (2 i + 1) / length - 1."""
    pixels = torch.arange(length, device=shift.device) + shift[:, None]
    return (2 * pixels + 1).to(dtype) / length - 1


def _sample_then_project(x: Tensor, grid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    batch, channels, height, width = x.shape
    sampled = _sample(x, grid.flatten(1, 2))  # [B, C, 9 H, W]
    columns = sampled.view(batch, channels * TAPS, height, width)
    return F.conv2d(columns, weight.reshape(weight.shape[0], channels * TAPS, 1, 1), bias)


def _project_then_sample(x: Tensor, grid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    batch, channels, height, width = x.shape
    outputs = weight.shape[0]
    filters = weight.permute(2, 3, 0, 1).reshape(TAPS * outputs, channels, 1, 1)
    projected = F.conv2d(x, filters).view(batch * TAPS, outputs, height, width)
    sampled = _sample(projected, grid.flatten(0, 1)).view(batch, TAPS, outputs, height, width)
    summed = sampled.sum(dim=1)
    return summed if bias is None else summed + bias.view(1, -1, 1, 1)


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    """`grid_sample` wants one dtype; the coordinates must not lose theirs, so the input is widened."""
    return F.grid_sample(x.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class DeformConv(nn.Module):
    """A 3x3 convolution that learns where to look: the offsets come from an ordinary convolution of the same
    input, zero at first, so that it starts as an ordinary convolution."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.offset = nn.Conv2d(inputs, 2 * TAPS, 3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        plain = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, O, H, W]"""
        return deform_conv3x3(x, self.offset(x), self.weight, self.bias)
