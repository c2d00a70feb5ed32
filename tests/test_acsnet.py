"""ACSNet, its ablations and peers, and the two-stage networks: what sets them apart from any other row."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import SonotuneError
from engine.models.attention import ChannelAttention, DeformableAttention, GateUnit
from engine.models.peers_multi import PixelClasses
from engine.models.registry import build, check, small
from engine.spec.model import Model

torch.set_num_threads(1)


def made(model: Model, channels: int = 1, size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return build(model, channels, 3, size).eval()


def images(size: int = 64, count: int = 1) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


def test_the_ablations_are_switches_of_one_network() -> None:
    plain = small("cunet")
    switched = {
        "cu_g_net": {"gate": True},
        "c_a_unet": {"channel_attention": True},
        "cu_a_net": {"dsa": True},
        "cu_ga_net": {"gate": True, "dsa": True},
        "c_ms_unet": {"head": "stages-4-5-6"},
        "c_ams_unet": {"head": "stages-4-5-6", "channel_attention": True},
        "acsnet": {"head": "stages-4-5-6", "channel_attention": True, "gate": True, "dsa": True},
        "unet_r18": {"tasks": ("segment",)},
        "cls_net": {"tasks": ("classify",)},
    }
    for name, fields in switched.items():
        by_name = {k: v.shape for k, v in made(small(name)).state_dict().items()}
        by_switch = {k: v.shape for k, v in made(plain.model_copy(update=fields)).state_dict().items()}
        assert by_name == by_switch


def test_chen_mtl_and_mt_dunet_are_one_network_with_two_encoders() -> None:
    for backbone in ("plain_unet", "resnet_unet"):
        shapes = [
            {k: v.shape for k, v in made(Model(name=name, backbone=backbone, width=6)).state_dict().items()}
            for name in ("chen_mtl", "mt_dunet")
        ]
        assert shapes[0] == shapes[1]


def test_a_gate_scales_what_passes_even_before_a_group_norm() -> None:
    gate, x = GateUnit(8), torch.rand(2, 8, 8, 8)
    assert not any(isinstance(layer, nn.GroupNorm) for layer in gate.modules())
    nn.init.constant_(gate.looks.bias, -20.0)  # type: ignore[arg-type]
    nn.init.zeros_(gate.refine.bias)  # type: ignore[arg-type]
    assert gate(x).abs().max() < 1e-6


def test_a_gate_sums_the_mean_of_one_look_and_the_peak_of_the_other() -> None:
    gate, x = GateUnit(2), torch.rand(1, 2, 6, 6)
    looks = gate.looks(x).sigmoid()
    wanted = gate.refine(x * looks[0, 0].mean() + x * looks[0, 1].max())
    assert torch.allclose(gate(x), wanted, atol=1e-6)


def test_deformable_attention_moves_its_offsets_from_the_first_step() -> None:
    block = DeformableAttention(8, "group")
    block(torch.rand(2, 8, 12, 12)).square().mean().backward()
    for conv in (block.first, block.second):
        assert conv.offset.weight.grad is not None
        assert conv.offset.weight.grad.abs().sum() > 0


def test_channel_attention_keeps_shape_and_never_amplifies() -> None:
    x = torch.rand(2, 32, 4, 4)
    assert (ChannelAttention(32)(x) <= x).all()


def test_pixel_classes_listen_to_the_lesion_only() -> None:
    head = PixelClasses(4, 8, 3, "group").eval()
    side = torch.rand(1, 4, 16, 16)
    mask = torch.full((1, 1, 16, 16), -30.0)
    mask[..., 4:8, 4:8] = 30.0
    inside = head.classes(head.seen(side))[..., 4:8, 4:8].mean((2, 3))
    assert torch.allclose(head(side, mask), inside, atol=1e-4)
    assert torch.isfinite(head(side, torch.full_like(mask, -30.0))).all()


@pytest.mark.parametrize(
    ("name", "millions", "megabytes"), [("u2net", 44.0, 176.3), ("u2net_lite", 1.13, 4.7)]
)
def test_u2net_has_the_published_size_on_disk(name: str, millions: float, megabytes: float) -> None:
    """The paper's megabytes are of RGB networks; the file's own overhead is below a tenth."""
    model = build(Model(name=name), 3, 3, 64)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    assert file.tell() / 1e6 == pytest.approx(megabytes, rel=0.1)


@pytest.mark.parametrize("name", ["u2net", "u2net_lite"])
def test_u2net_gives_six_sides_and_their_fusion_at_full_size(name: str) -> None:
    masks = made(small(name))(images(96)).masks
    assert [tuple(mask.shape) for mask in masks] == [(1, 1, 96, 96)] * 7
    only = made(small(name).model_copy(update={"deep_supervision": False}))(images(96)).masks
    assert torch.allclose(only[0], masks[-1], atol=1e-5)


def test_the_fusion_of_u2net_reads_all_its_sides() -> None:
    model = made(small("u2net_lite"))
    *sides, fused = model(images()).masks
    assert torch.allclose(fused, model.get_submodule("fuse")(torch.cat(sides, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("deepcardinal50", 22.986), ("resnet34", 21.286), ("resnet50", 23.514), ("alexnet", 57.016)],
)
def test_a_classifier_for_three_classes_has_the_published_parameters(name: str, millions: float) -> None:
    model = build(Model(name=name), 3, 3, 64)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.001)


@pytest.mark.parametrize("depth", [4, 5])
@pytest.mark.parametrize("name", ["acsnet", "fcn", "fpn", "deeplabv3plus", "unetpp_r18"])
def test_both_stems_end_at_full_size(name: str, depth: int) -> None:
    model = small(name).model_copy(update={"depth": depth})
    assert made(model)(images()).masks[-1].shape == (1, 1, 64, 64)


@pytest.mark.parametrize("encoder", ["resnet34", "resnet50", "resnext50_32x4d"])
def test_the_encoder_is_a_choice(encoder: Any) -> None:
    prediction = made(Model(name="acsnet", encoder=encoder, width=4))(images())
    assert prediction.masks[-1].shape == (1, 1, 64, 64)
    assert prediction.logits is not None


def test_deep_supervision_of_unetpp_gives_a_mask_per_node_of_the_finest_level() -> None:
    deep = small("unetpp_r18").model_copy(update={"deep_supervision": True})
    assert len(made(deep)(images()).masks) == 4
    assert len(made(small("unetpp_r18"))(images()).masks) == 1


def test_trans_unet_reads_images_of_another_size_than_it_was_built_for() -> None:
    assert made(small("trans_unet"), size=64)(images(96)).masks[-1].shape == (1, 1, 96, 96)


@pytest.mark.parametrize("name", ["acsnet", "trans_unet", "deepcardinal50", "alexnet", "fpn"])
def test_pretrained_weights_come_from_a_file(name: str, tmp_path: Path) -> None:
    batch = {} if name == "alexnet" else {"norm": "batch"}
    model = small(name).model_copy(update=batch)
    first = made(model)
    part = {"acsnet": "backbone.encoder", "alexnet": "network", "deepcardinal50": "network"}.get(
        name, "encoder"
    )
    encoder = {k: v + 1 for k, v in first.get_submodule(part).state_dict().items()}
    torch.save(encoder, tmp_path / "encoder.pth")
    second = made(model.model_copy(update={"weights": str(tmp_path / "encoder.pth")}))
    loaded = second.get_submodule(part).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in encoder.items() if "num_batches" not in k)


REFUSED = [
    ({"name": "acsnet", "depth": 3}, "acsnet takes 4, 5"),
    ({"name": "acsnet", "width": 7}, "multiples of 2"),
    ({"name": "cunet", "head": "feature-processing"}, "cunet takes stage-5, stages-4-5-6"),
    ({"name": "fcn", "tasks": ("segment", "classify")}, "fcn takes"),
    ({"name": "fcn", "gate": True}, "fcn has no gate"),
    ({"name": "u2net", "weights": "imagenet"}, "u2net has no weights"),
    ({"name": "alexnet", "encoder": "resnet18"}, "alexnet has no encoder"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED)
def test_a_switch_that_a_row_has_not_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SonotuneError, match=says):
        check(Model.model_validate(fields), 64)


def test_public_weights_want_batch_normalisation() -> None:
    with pytest.raises(SonotuneError, match="norm: batch"):
        build(Model(name="acsnet", weights="imagenet"), 1, 3, 64)


SLOW = ["unetpp_r18", "deeplabv3plus", "fpn", "wang_mtl", "u2net", "u2net_lite", "deepcardinal50", "alexnet"]
EXPORTED = ["acsnet", "trans_unet", "qu_mtl", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.export
@pytest.mark.parametrize("name", EXPORTED)
def test_it_exports_with_the_same_numbers(name: str) -> None:
    model, x = made(small(name)), images(count=2)
    with torch.no_grad():
        wanted, got = model(x), torch.export.export(model, (x,)).module()(x)
    for mask, other in zip(wanted.masks, got.masks, strict=True):
        assert torch.allclose(mask, other, atol=1e-4)
    assert wanted.logits is None or torch.allclose(wanted.logits, got.logits, atol=1e-4)
