"""What a built model costs: parameters, and the operations of one forward pass of one image."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engine.models.registry import build
from engine.spec.model import Model


@dataclass(frozen=True)
class Cost:
    """`flops` counts a multiply-add as two, as PyTorch does; papers that say FLOPs mostly count it once."""

    parameters: int
    flops: int

    @property
    def multiply_adds(self) -> int:
        return self.flops // 2


def cost(network: nn.Module, channels: int, size: int) -> Cost:
    """In evaluation mode, without gradients; the network comes back in the mode it was in."""
    weight = next(network.parameters())
    x = torch.zeros(1, channels, size, size, device=weight.device, dtype=weight.dtype)
    training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    network.train(training)
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops())


def cost_of(model: Model, channels: int, classes: int, size: int) -> Cost:
    """Of a configuration; run on the meta device, where nothing is computed."""
    return cost(build(model, channels, classes, size).to("meta"), channels, size)
