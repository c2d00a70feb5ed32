"""Optimizers that never load torch's compiler take the very steps that torch's own take."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from engine.training.uncompiled import uncompiled


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(SGD, {"lr": 0.1, "momentum": 0.9}), (Adam, {"lr": 0.1}), (AdamW, {"lr": 0.1, "weight_decay": 0.1})],
)
def test_the_steps_are_those_of_torch_also_after_a_resume(
    kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    assert torch.equal(moved(uncompiled(kind), settings), moved(kind, settings))


def moved(kind: type[Optimizer], settings: dict[str, Any]) -> Tensor:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    optimizer = kind(layer.parameters(), **settings)
    for step in range(6):
        if step == 3:
            state = optimizer.state_dict()
            optimizer = kind(layer.parameters(), **settings)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        layer(torch.rand(3, 4)).square().sum().backward()
        optimizer.step()
    assert layer.weight.requires_grad
    return layer.weight.detach()
