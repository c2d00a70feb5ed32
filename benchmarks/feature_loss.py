"""What a step of ACSNet is spent on: its network, its deformable attention, and the feature loss beside it.

python benchmarks/feature_loss.py [--size 96] [--batch 8] [--width 8]: milliseconds of forward + backward on
one thread, in float32 and under bfloat16 autocast (best of 3, processor time).
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from engine.losses.lossnet import LossNet
from engine.models.registry import build
from engine.spec.model import Model

NETWORKS = ("cunet", "cu_g_net", "cu_a_net", "acsnet")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--size", type=int, default=96)
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--width", type=int, default=8)
    given = asked.parse_args()
    torch.set_num_threads(1)
    print("| part | float32, ms | bfloat16, ms |\n| --- | ---: | ---: |")
    for name in NETWORKS:
        model = build(Model(name=name, width=given.width), 1, 3, given.size)
        report(f"`{name}`, width {given.width}", network_step(model, given))
    report("feature loss", loss_step(LossNet(), given))


def network_step(model: torch.nn.Module, given: argparse.Namespace) -> Callable[[], Tensor]:
    images = torch.rand(given.batch, 1, given.size, given.size)

    def step() -> Tensor:
        said = model(images)
        return said.masks[-1].float().square().mean() + said.logits.float().square().mean()

    return step


def loss_step(ruler: LossNet, given: argparse.Namespace) -> Callable[[], Tensor]:
    logits = torch.randn(given.batch, 1, given.size, given.size, requires_grad=True)
    truth = (torch.rand_like(logits) > 0.9).float()
    return lambda: ruler(logits, truth)


def report(part: str, step: Callable[[], Tensor]) -> None:
    exact, mixed = (milliseconds(step, precision) for precision in (False, True))
    print(f"| {part} | {exact:.0f} | {mixed:.0f} |", flush=True)


def milliseconds(step: Callable[[], Tensor], mixed: bool, rounds: int = 3) -> float:
    times = []
    for _ in range(rounds + 1):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = step()
        loss.backward()
        times.append(1000 * (time.process_time() - began))
    return min(times[1:])


if __name__ == "__main__":
    main()
