"""Deformable convolution against its definition, ordinary convolution, finite differences and torchvision."""

import pytest
import torch
import torch.nn.functional as F

from engine.models.deform import DeformConv, deform_conv3x3

torch.set_num_threads(1)
ORDERS = pytest.mark.parametrize(
    ("inputs", "outputs"), [(2, 3), (4, 2)], ids=["sample-first", "project-first"]
)


def _case(inputs: int, outputs: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, inputs, 6, 7, generator=generator, dtype=dtype)
    offset = torch.randn(2, 18, 6, 7, generator=generator, dtype=dtype)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator, dtype=dtype)
    bias = torch.randn(outputs, generator=generator, dtype=dtype)
    return x, offset, weight, bias


@ORDERS
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (1, 0), (0, -2), (-1, 2)])
def test_a_constant_integer_offset_is_a_shifted_convolution(
    inputs: int, outputs: int, dy: int, dx: int
) -> None:
    x, offset, weight, bias = _case(inputs, outputs)
    offset = torch.zeros_like(offset)
    offset[:, 0::2], offset[:, 1::2] = dy, dx
    shifted = F.conv2d(F.pad(x, (4, 4, 4, 4)), weight, bias, padding=1)[
        :, :, 4 + dy : 10 + dy, 4 + dx : 11 + dx
    ]
    assert torch.allclose(deform_conv3x3(x, offset, weight, bias), shifted, atol=1e-4)


@ORDERS
def test_every_tap_reads_bilinearly_at_its_own_place(inputs: int, outputs: int) -> None:
    x, offset, weight, bias = _case(inputs, outputs, torch.float64)
    got = deform_conv3x3(x, offset, weight, bias)
    for b, i, j in [(0, 0, 0), (1, 3, 4), (0, 5, 6), (1, 2, 0)]:
        wanted = bias.clone()
        for tap in range(9):
            y = i + tap // 3 - 1 + offset[b, 2 * tap, i, j].item()
            z = j + tap % 3 - 1 + offset[b, 2 * tap + 1, i, j].item()
            wanted += weight[:, :, tap // 3, tap % 3] @ _read(x[b], y, z)
        assert torch.allclose(got[b, :, i, j], wanted)


def _read(image: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """image: [C, H, W] -> [C], each pixel weighing by a tent around it."""
    rows = torch.arange(image.shape[1], dtype=image.dtype)
    columns = torch.arange(image.shape[2], dtype=image.dtype)
    tent = (1 - (rows - y).abs()).clamp(min=0)[:, None] * (1 - (columns - x).abs()).clamp(min=0)[None]
    return (image * tent).sum(dim=(1, 2))


@ORDERS
def test_its_gradients_agree_with_finite_differences(inputs: int, outputs: int) -> None:
    x, offset, weight, bias = (t.requires_grad_() for t in _case(inputs, outputs, torch.float64))
    small = (x[:1, :, :3, :4], offset[:1, :, :3, :4], weight, bias)
    assert torch.autograd.gradcheck(deform_conv3x3, [t.detach().requires_grad_() for t in small])


@ORDERS
def test_it_agrees_with_torchvision(inputs: int, outputs: int) -> None:
    try:
        from torchvision.ops import deform_conv2d
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    x, offset, weight, bias = _case(inputs, outputs)
    theirs = deform_conv2d(x, offset, weight, bias, padding=1)
    assert torch.allclose(deform_conv3x3(x, offset, weight, bias), theirs, atol=1e-4)


@ORDERS
def test_a_new_layer_is_an_ordinary_convolution(inputs: int, outputs: int) -> None:
    layer, x = DeformConv(inputs, outputs), _case(inputs, outputs)[0]
    assert torch.allclose(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1), atol=1e-5)


@ORDERS
def test_it_runs_and_learns_under_bfloat16_autocast(inputs: int, outputs: int) -> None:
    layer, x = DeformConv(inputs, outputs), _case(inputs, outputs)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert torch.allclose(y.float(), layer(x), atol=0.1)
    y.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert layer.offset.weight.grad is not None
    assert layer.offset.weight.grad.abs().sum() > 0


@ORDERS
def test_it_exports_with_the_same_numbers(inputs: int, outputs: int) -> None:
    layer, x = DeformConv(inputs, outputs).eval(), _case(inputs, outputs)[0]
    torch.nn.init.normal_(layer.offset.weight, std=0.2)
    exported = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    assert torch.allclose(exported.module()(x[:1]), layer(x[:1]), atol=1e-5)
