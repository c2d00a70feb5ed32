"""The frozen VGG-16 features that feature losses compare."""

from pathlib import Path

import pytest
import torch

from engine.errors import SonotuneError
from engine.models.vgg import VggFeatures

torch.set_num_threads(1)


def test_the_levels_are_the_last_maps_before_each_pooling() -> None:
    maps = VggFeatures(levels=4, width=4)(torch.rand(2, 1, 32, 48))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 32, 48), (2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6)]


def test_the_full_width_has_the_parameters_of_vgg16_up_to_conv4_3() -> None:
    assert sum(p.numel() for p in VggFeatures(levels=4).parameters()) == 7_635_264


def test_random_filters_neither_follow_nor_shift_the_global_seed() -> None:
    torch.manual_seed(1)
    first = VggFeatures(levels=2, width=4)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = VggFeatures(levels=2, width=4)
    assert before.equal(torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_it_is_frozen_but_lets_the_gradient_through() -> None:
    vgg = VggFeatures(levels=2, width=4).train()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    sum(m.sum() for m in vgg(image)).backward()
    assert not vgg.training
    assert all(p.grad is None for p in vgg.parameters())
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_a_whole_vgg16_file_fills_the_first_levels(tmp_path: Path) -> None:
    whole = VggFeatures(levels=5, seed=7).state_dict()
    whole |= {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    torch.save(whole, tmp_path / "vgg16.pth")
    loaded = VggFeatures(levels=3, weights=str(tmp_path / "vgg16.pth")).state_dict()
    assert torch.equal(loaded["features.14.weight"], whole["features.14.weight"])


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(SonotuneError, match="missing"):
        VggFeatures(levels=1, weights=str(tmp_path / "other.pth"))
