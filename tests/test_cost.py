"""Parameters and operations of a model, against counts made by hand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.models.cost import cost, cost_of
from engine.models.registry import MODELS, build, small
from engine.spec.model import Model

torch.set_num_threads(1)


def test_a_convolution_costs_what_the_textbook_says() -> None:
    found = cost(nn.Conv2d(2, 5, 3, padding=1, bias=False), channels=2, size=8)
    assert found.parameters == 5 * 2 * 9
    assert found.multiply_adds == 8 * 8 * 5 * 2 * 9
    assert found.flops == 2 * found.multiply_adds


def test_a_configuration_costs_what_its_network_costs() -> None:
    model = small("mtl_oca")
    assert cost_of(model, 2, 3, 64) == cost(build(model, 2, 3, 64), 2, 64)


def test_the_original_u_net_has_31_million_parameters() -> None:
    found = cost_of(Model(name="unet_st"), 1, 2, 256)
    assert round(found.parameters / 1e6, 2) == 31.04


def test_counting_leaves_the_network_in_its_mode() -> None:
    network = build(small("unet_mtl"), 1, 3, 64).train()
    cost(network, 1, 64)
    assert network.training


@pytest.mark.slow
def test_the_page_on_models_gives_what_every_row_costs() -> None:
    page = Path(__file__).parents[1].joinpath("docs/models.md").read_text()
    written = {m[1]: (m[2], m[3]) for m in re.finditer(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", page, re.M)}
    assert set(written) == set(MODELS)
    for name, (parameters, operations) in written.items():
        found = cost_of(Model(name=name), channels=1, classes=3, size=256)
        counted = (f"{found.parameters / 1e6:.2f}", f"{found.multiply_adds / 1e9:.2f}")
        assert (name, *counted) == (name, parameters, operations)
