"""Grad-CAM over every model that has logits."""

import pytest
import torch

from engine.errors import SonotuneError
from engine.explain import _heat, grad_cam
from engine.models.registry import MODELS, build, small, traits
from engine.spec.model import Model

torch.set_num_threads(1)
CLASSIFIERS = [name for name in sorted(MODELS) if traits(small(name)).classifies]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_heat_map_has_the_images_size_and_lies_between_0_and_1(name: str) -> None:
    torch.manual_seed(0)
    network = build(small(name), 1, 3, 64).eval()
    images = torch.rand(2, 1, 64, 64)
    heats = [grad_cam(network, small(name), images, torch.full((2,), c)) for c in range(3)]
    assert all(heat.shape == (2, 64, 64) for heat in heats)
    assert all(heat.min() >= 0 and heat.max() <= 1 for heat in heats)
    assert sum(float(heat.max()) for heat in heats) > 0
    assert not network.get_submodule(MODELS[name].cam)._forward_hooks
    assert all(p.grad is None for p in network.parameters())


def test_the_heat_is_where_a_map_speaks_for_the_class() -> None:
    maps, gradient = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    maps[0, 0, 1, 2], maps[0, 1, 3, 0] = 3.0, 9.0
    gradient[0, 0], gradient[0, 1] = 0.5, -0.5  # the second channel speaks against it
    heat = _heat(maps, gradient, torch.Size((4, 4)))
    assert heat[0, 1, 2] == 1
    assert heat.sum() == 1


def test_a_frozen_network_can_be_explained() -> None:
    network = build(small("unet_mtl"), 1, 3, 64).eval().requires_grad_(False)
    assert grad_cam(network, small("unet_mtl"), torch.rand(1, 1, 64, 64)).isfinite().all()


def test_a_network_without_a_classifier_is_refused() -> None:
    model = Model(name="unet_mtl", tasks=("segment",), width=8, depth=3)
    with pytest.raises(SonotuneError, match="no class to explain"):
        grad_cam(build(model, 1, 3, 64).eval(), model, torch.rand(1, 1, 64, 64))


def test_explaining_in_training_mode_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        grad_cam(build(small("unet_mtl"), 1, 3, 64), small("unet_mtl"), torch.rand(1, 1, 64, 64))
