"""Deformable convolution in plain torch against an ordinary convolution of the same shape.

python benchmarks/deform.py [--size 64] [--batch 4]: milliseconds of forward + backward on one thread (best of
7, processor time, so that neighbours on the machine count less), and what autograd keeps for the backward.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.deform import DeformConv, _project_then_sample, _sample_then_project, sampling_grid

CHANNELS = ((8, 8), (16, 8), (64, 64), (128, 64), (128, 128), (256, 128))
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}, torch {torch.__version__}, batch {options.batch}, {options.size}x{options.size}")
    print(f"{'channels':>10} {'layer':>18} {'ms':>8} {'ratio':>6} {'saved MiB':>10} {'ratio':>6}")
    for inputs, outputs in CHANNELS:
        x = torch.randn(options.batch, inputs, options.size, options.size, device=device)
        _print_rows(f"{inputs}->{outputs}", _layers(inputs, outputs, device), x)


def _layers(inputs: int, outputs: int, device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    deform = DeformConv(inputs, outputs).to(device)
    nn.init.normal_(deform.offset.weight, std=0.05)

    def sample_first(x: Tensor) -> Tensor:
        return _sample_then_project(x, sampling_grid(deform.offset(x)), deform.weight, deform.bias)

    def project_first(x: Tensor) -> Tensor:
        return _project_then_sample(x, sampling_grid(deform.offset(x)), deform.weight, deform.bias)

    def gather_rows(x: Tensor) -> Tensor:
        return gathered(x, sampling_grid(deform.offset(x)), deform.weight, deform.bias)

    plain = nn.Conv2d(inputs, outputs, 3, padding=1, device=device)
    return {
        "ordinary": plain,
        "DeformConv": deform,
        "sample first": sample_first,
        "project first": project_first,
        "gather rows": gather_rows,
    }


def gathered(x: Tensor, grid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same without `grid_sample`: a pixel's channels are one row in memory, and each tap is a weighted
    sum of its four corners' rows, whose numbers and weights all channels share."""
    batch, channels, height, width = x.shape
    corners, weights = zip(
        *(_corner(grid, height, width, right, down) for right, down in CORNERS), strict=True
    )
    first = (torch.arange(batch, device=x.device) * height * width).view(-1, 1, 1, 1)
    numbers = torch.stack([corner + first for corner in corners], dim=-1).view(-1, 4)
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    shares = torch.stack(weights, dim=-1).view(-1, 4)
    sampled = F.embedding_bag(numbers, rows, mode="sum", per_sample_weights=shares)
    columns = sampled.view(batch, 9, height * width, channels).permute(0, 2, 1, 3).flatten(2)
    summed = columns @ weight.permute(2, 3, 1, 0).reshape(9 * channels, -1) + bias
    return summed.transpose(1, 2).unflatten(2, (height, width))


def _corner(grid: Tensor, height: int, width: int, right: int, down: int) -> tuple[Tensor, Tensor]:
    """Of each tap: the corner's row in its image, and its weight, which is nothing outside."""
    x, y = ((grid[..., axis] + 1) * length / 2 - 0.5 for axis, length in enumerate((width, height)))
    column, row = x.detach().floor() + right, y.detach().floor() + down
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
    return (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long(), share


def _print_rows(title: str, layers: dict[str, Callable[[Tensor], Tensor]], x: Tensor) -> None:
    base: tuple[float, float] | None = None
    for name, layer in layers.items():
        cost = (_milliseconds(layer, x), _saved(layer, x) / 2**20)
        base = base or cost
        ratios = (cost[0] / base[0], cost[1] / base[1])
        print(f"{title:>10} {name:>18} {cost[0]:8.1f} {ratios[0]:6.1f} {cost[1]:10.1f} {ratios[1]:6.1f}")


def _milliseconds(layer: Callable[[Tensor], Tensor], x: Tensor, rounds: int = 7) -> float:
    clock = time.perf_counter if x.is_cuda else time.process_time
    times = []
    for _ in range(rounds + 2):
        given = x.detach().requires_grad_()
        started = clock()
        layer(given).sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (clock() - started))
    return min(times[2:])


def _saved(layer: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Bytes of the distinct tensors autograd saves, the input and parameters included."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = layer(x.detach().requires_grad_())
    del output
    return sum(kept.values())


if __name__ == "__main__":
    main()
