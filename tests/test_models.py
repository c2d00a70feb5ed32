"""Every row of the registry keeps the contract: what goes in, what comes out, and that it can learn."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.errors import SonotuneError
from engine.losses.total import Terms, build_loss
from engine.models.contract import Prediction
from engine.models.registry import BACKBONES, MODELS, build, check, find, resolve, small, stride, traits
from engine.spec.loss import Loss
from engine.spec.model import Model

CHANNELS, CLASSES = 2, 3
NAMES = sorted(MODELS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(model: Model, size: int = 64, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(model, CHANNELS, CLASSES, size)


def images(count: int, size: int) -> Tensor:
    return torch.rand(count, CHANNELS, size, size, generator=torch.Generator().manual_seed(1))


def loss_of(model: Model, prediction: Prediction, x: Tensor) -> Tensor:
    """What a study without a loss of its own trains with: one lesion in the middle, one label per case."""
    truth = torch.zeros(len(x), 1, *x.shape[-2:])
    truth[..., 16:40, 20:44] = 1
    objective = build_loss(Loss(), np.ones(CLASSES), traits(model))
    terms: Terms = objective(prediction, truth, torch.arange(len(x)) % CLASSES, x, 1)
    return terms.total


def one_step(model: Model, network: nn.Module, x: Tensor) -> float:
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=3e-4)
    loss = loss_of(model, network(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def assert_contract(model: Model, prediction: Prediction, count: int, size: int) -> None:
    wanted = traits(model)
    assert isinstance(prediction, Prediction)
    assert bool(prediction.masks) == wanted.segments
    assert (prediction.logits is not None) == wanted.classifies
    if prediction.logits is not None:
        assert prediction.logits.shape == (count, CLASSES)
    assert all(mask.shape[:2] == (count, 1) for mask in prediction.masks)
    heights = [mask.shape[-1] for mask in prediction.masks]
    assert heights == sorted(heights)
    assert heights[-1:] == [size] * wanted.segments
    assert (len(heights) > 1) == wanted.deep_supervision
    assert ("soft_regions" in prediction.aux) == wanted.soft_regions
    assert ("reconstruction" in prediction.aux) == wanted.reconstructs
    tensors = [*prediction.masks, *prediction.aux.values()]
    assert all(torch.isfinite(tensor).all() for tensor in tensors)


def without_gradient(network: nn.Module) -> list[str]:
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    return [name for name, p in named if p.grad is None or not torch.isfinite(p.grad).all()]


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_keeps_the_output_contract(name: str, size: int) -> None:
    model = small(name)
    network = made(model, size).train()
    assert_contract(model, network(images(3, size)), 3, size)
    network.eval()
    with torch.no_grad():
        assert_contract(model, network(images(1, size)), 1, size)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_form_has_under_300_000_parameters(name: str) -> None:
    assert sum(p.numel() for p in made(small(name)).parameters()) < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    network = made(small(name)).train()
    x = images(3, 64)
    loss_of(small(name), network(x), x).backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_pass_in_bfloat16_is_finite(name: str) -> None:
    network = made(small(name)).train()
    x = images(2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(loss_of(small(name), network(x), x))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_network_and_the_same_step(name: str) -> None:
    def after_a_step() -> dict[str, Tensor]:
        network = made(small(name), seed=5).train()
        one_step(small(name), network, images(2, 64))
        return network.state_dict()

    first, second = after_a_step(), after_a_step()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_step_lowers_the_loss_on_a_fixed_batch(name: str) -> None:
    network = made(small(name)).train()
    x = images(3, 64)
    before = one_step(small(name), network, x)
    assert loss_of(small(name), network(x), x).item() < before


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_makes_the_same_network_again(name: str) -> None:
    first, second = made(small(name), seed=1).eval(), made(small(name), seed=2).eval()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        left, right = first(images(1, 64)), second(images(1, 64))
    assert all(torch.equal(a, b) for a, b in zip(left.masks, right.masks, strict=True))
    assert left.logits is None or torch.equal(left.logits, right.logits)


@pytest.mark.parametrize("name", NAMES)
def test_the_layer_for_heat_maps_exists_where_there_are_logits(name: str) -> None:
    if traits(small(name)).classifies:
        assert isinstance(made(small(name)).get_submodule(find(name).cam), nn.Module)


@pytest.mark.parametrize("tasks", [("segment",), ("classify",)])
@pytest.mark.parametrize("head", ["bottleneck", "multi-scale", "backbone-features", "feature-processing"])
def test_a_network_for_one_task_has_no_idle_part(tasks: Any, head: Any) -> None:
    model = Model(name="unet_mtl", tasks=tasks, head=head, width=8, depth=3)
    network, x = made(model).train(), images(2, 64)
    prediction = network(x)
    assert_contract(model, prediction, 2, 64)
    loss_of(model, prediction, x).backward()
    assert without_gradient(network) == []


REFUSED = [
    ({"name": "nothing"}, 64, "the models are"),
    ({"name": "unet_mtl", "oca": True}, 64, "unet_mtl has no oca"),
    ({"name": "unet_mtl", "deep_supervision": True}, 64, "unet_mtl has no deep_supervision"),
    ({"name": "unet_mtl", "weights": "imagenet"}, 64, "unet_mtl has no weights"),
    ({"name": "unet_mtl", "head": "refined-features"}, 64, "unet_mtl takes bottleneck, multi-scale"),
    ({"name": "mtl_oca", "deep_supervision": True}, 64, "mtl_oca has no deep_supervision.*mt_unetpp"),
    ({"name": "mtl_oca", "oca": False, "head": "refined-features"}, 64, "oca=False: no object context"),
    ({"name": "mtl_oca_no_oca", "oca": True}, 64, "mtl_oca_no_oca takes False"),
    ({"name": "mt_unetpp", "depth": 5}, 64, "mt_unetpp takes 4"),
    ({"name": "mt_unetpp", "backbone": "nnunet"}, 64, "mt_unetpp takes unetpp"),
    ({"name": "st_seg", "tasks": ["segment", "classify"]}, 64, r"st_seg takes \[segment\]"),
    ({"name": "unetpp", "tasks": ["classify"], "deep_supervision": True}, 64, "has no masks"),
    ({"name": "refining", "backbone": "plain_unet", "depth": 1}, 64, "one level"),
    ({"name": "mt_nnunet"}, 80, "not divisible by 32"),
    ({"name": "unet_mtl", "depth": 4}, 72, "not divisible by 16"),
    ({"name": "unet_mtl", "depth": 5}, 32, "one pixel"),
]


@pytest.mark.parametrize(("fields", "size", "says"), REFUSED)
def test_an_impossible_combination_is_refused_naming_both_sides(
    fields: dict[str, Any], size: int, says: str
) -> None:
    with pytest.raises(SonotuneError, match=says):
        check(Model.model_validate(fields), size)


def test_an_open_field_means_the_systems_own_choice() -> None:
    chosen = resolve(Model(name="unet_mtl"))
    assert (chosen.backbone, chosen.head, chosen.depth) == ("plain_unet", "bottleneck", 4)
    assert resolve(chosen) == chosen
    assert stride(chosen) == 16


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_of_the_table_is_a_name_that_a_study_may_write(name: Any) -> None:
    assert Model(backbone=name).backbone == name


def test_listing_models_imports_neither_torch_nor_ray() -> None:
    heavy = "('torch', 'monai', 'ray')"
    code = f"import sys, engine.models.registry as r; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_exported_for_any_batch_gives_the_same_numbers(name: str) -> None:
    network, x = made(small(name)).eval(), images(3, 64)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (images(2, 64),), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        mine, exported = network(x), program(x)
    torch.testing.assert_close(list(mine.masks), list(exported.masks))
    assert mine.logits is None or torch.allclose(mine.logits, exported.logits, atol=1e-4)


def test_the_page_on_models_names_every_row() -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []
