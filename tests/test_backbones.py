"""MONAI's networks taken apart still compute what MONAI computes, and feed any head."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from engine.errors import SonotuneError
from engine.models.attention import ObjectContext, gather, relate
from engine.models.backbones import LEAKY
from engine.models.blocks import normalise
from engine.models.multitask import build_backbone
from engine.models.registry import BACKBONES, build, resolve
from engine.spec.model import Model

torch.set_num_threads(1)
NAMES = sorted(BACKBONES)
HEADS = ["bottleneck", "multi-scale", "backbone-features", "feature-processing"]
INSTANCE = ("instance", {"affine": True})


def images(size: int = 64, count: int = 2) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


def over(backbone: str, **fields: Any) -> Model:
    sizes = dict(BACKBONES[backbone].small) | {"backbone": backbone}
    return Model.model_validate({"name": "refining", **sizes, **fields})


@pytest.mark.parametrize(("channels", "groups"), [(4, 4), (6, 6), (12, 6), (48, 8), (64, 8), (11, 1)])
def test_a_group_norm_has_as_many_groups_as_divide_its_channels_and_eight_at_most(
    channels: int, groups: int
) -> None:
    norm = normalise("group", channels)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


@pytest.mark.parametrize("name", NAMES)
def test_the_maps_are_ordered_and_have_the_announced_channels(name: str) -> None:
    trunk = build_backbone(resolve(over(name)), 1, decodes=True)
    maps = trunk(images())
    sizes = [map_.shape[-1] for map_ in maps.encoder]
    assert sizes == sorted(sizes, reverse=True)
    assert maps.encoder[-1].shape[-1] == 2 * maps.bottleneck.shape[-1] == maps.decoder[0].shape[-1]
    assert maps.decoder[-1].shape[-1] == maps.sides[-1].shape[-1] == 64
    assert [m.shape[1] for m in maps.encoder] == trunk.channels.encoder
    assert [m.shape[1] for m in maps.decoder] == trunk.channels.decoder
    assert [m.shape[1] for m in maps.sides] == trunk.channels.sides
    assert maps.bottleneck.shape[1] == trunk.channels.bottleneck
    assert maps.sides[-1] is maps.decoder[-1]


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_alone_gives_the_same_maps_with_fewer_parameters(name: str) -> None:
    whole = build_backbone(resolve(over(name)), 1, decodes=True).eval()
    alone = build_backbone(resolve(over(name)), 1, decodes=False).eval()
    alone.load_state_dict({k: v for k, v in whole.state_dict().items() if k in alone.state_dict()})
    maps = alone(images())
    assert torch.equal(maps.bottleneck, whole(images()).bottleneck)
    assert maps.decoder == maps.sides == []
    assert [m.shape[1] for m in maps.encoder] == alone.channels.encoder
    assert len(list(alone.parameters())) < len(list(whole.parameters()))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_any_backbone_feeds_any_head(name: str, head: str) -> None:
    network = build(over(name, head=head), 1, 3, 64).train()
    prediction = network(images())
    assert prediction.logits is not None
    assert prediction.logits.shape == (2, 3)
    sum((m.mean() for m in prediction.masks), prediction.logits.pow(2).sum()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def _monai_unet(units: int) -> UNet:
    return UNet(2, 1, 1, (8, 16, 32, 64), (2, 2, 2), num_res_units=units, norm=INSTANCE)


WHOLE: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: _monai_unet(0),
    "res_unet": lambda: _monai_unet(2),
    "attention_unet": lambda: AttentionUnet(2, 1, 1, (8, 16, 32, 64), (2, 2, 2)),
    "segresnet": lambda: SegResNet(2, 8, 1, 1, blocks_down=(1, 2, 4), blocks_up=(1, 1)),
    "unetpp": lambda: BasicUNetPlusPlus(2, 1, 1, (4, 8, 16, 32, 64, 4)),
    "nnunet": lambda: DynUNet(
        2, 1, 1, [3] * 4, [1, 2, 2, 2], [2] * 3, (8, 16, 32, 64), norm_name=INSTANCE, act_name=LEAKY
    ),
    "swin_unetr": lambda: SwinUNETR(1, 1, feature_size=12, spatial_dims=2, norm_name=INSTANCE),
}
DEPTH = {"swin_unetr": 5}


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return sorted(tuple(p.shape) for p in {id(p): p for p in network.parameters()}.values())


@pytest.mark.parametrize("name", [n for n in WHOLE if n not in ("unet", "res_unet")])
def test_a_taken_apart_network_has_monais_parameters(name: str) -> None:
    depth = {"depth": DEPTH[name]} if name in DEPTH else {}
    ours = build(Model.model_validate({"name": name, **BACKBONES[name].small, **depth}), 1, 3, 64)
    theirs = WHOLE[name]()
    unused = {"unetpp": 3 * [(1,)] + 3 * [(1, 4, 1, 1)]}.get(name, [])
    assert sorted(shapes(ours) + unused) == shapes(theirs)


@pytest.mark.parametrize("name", ["unetpp", "nnunet", "swin_unetr", "segresnet", "attention_unet"])
def test_a_taken_apart_network_computes_what_monai_computes(name: str) -> None:
    depth = {"depth": DEPTH[name]} if name in DEPTH else {}
    model = Model.model_validate({"name": name, **BACKBONES[name].small, **depth})
    ours, theirs = build(model, 1, 3, 64).eval(), WHOLE[name]().eval()
    for mine, part in zip(_parts(ours, name), _monai_parts(theirs, name), strict=True):
        mine.load_state_dict(part.state_dict())
    with torch.no_grad():
        whole = theirs(images())
        whole = whole[-1] if isinstance(whole, list) else whole
        torch.testing.assert_close(ours(images()).masks[-1], whole)


def _parts(network: Any, name: str) -> list[nn.Module]:
    """Our parts, in the order in which `_monai_parts` lists the same ones."""
    b, mask = network.backbone, network.masks[-1]
    if name == "unetpp":
        return [*b.down, *(b.node[at] for at in sorted(b.node)), mask]
    if name == "nnunet":
        return [*b.down, *b.up, mask]
    if name == "segresnet":
        return [b.entry, *b.down, *b.up, *b.refine, b.finish, mask]
    if name == "attention_unet":
        return [*b.down, *b.up, *b.gate, *b.merge, mask]
    return [b.embed, *b.stages, b.bottom, *b.skips[:-1], *b.up, mask]


def _monai_parts(network: Any, name: str) -> list[nn.Module]:
    n = network
    if name == "unetpp":
        nodes = sorted(key[6:] for key, _ in n.named_children() if key.startswith("upcat"))
        down = [n.get_submodule(f"conv_{i}_0") for i in range(5)]
        return [*down, *(n.get_submodule(f"upcat_{at}") for at in nodes), n.final_conv_0_4]
    if name == "nnunet":
        return [n.input_block, *n.downsamples, n.bottleneck, *n.upsamples, n.output_block.conv.conv]
    if name == "segresnet":
        return [
            n.convInit,
            *n.down_layers,
            *n.up_samples,
            *n.up_layers,
            n.conv_final[:2],
            n.conv_final[2].conv,
        ]
    if name == "attention_unet":
        first, (second, third) = n.model[1], (n.model[1].submodule[1], n.model[1].submodule[1].submodule[1])
        layers = [third, second, first]
        down = [n.model[0], first.submodule[0], second.submodule[0], third.submodule]
        rest = [getattr(layer, part) for part in ("upconv", "attention", "merge") for layer in layers]
        return [*down, *rest, n.model[2].conv]
    swin = n.swinViT
    stages = [swin.layers1[0], swin.layers2[0], swin.layers3[0], swin.layers4[0]]
    skips = [n.encoder1, n.encoder2, n.encoder3, n.encoder4]
    ups = [n.decoder5, n.decoder4, n.decoder3, n.decoder2, n.decoder1]
    return [swin.patch_embed, *stages, n.encoder10, *skips, *ups, n.out.conv.conv]


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("plain")])
def test_deep_supervision_adds_masks_and_off_leaves_one(name: str) -> None:
    for deep in (True, False):
        masks = build(over(name, deep_supervision=deep), 1, 3, 64)(images()).masks
        assert (len(masks) > 1) == deep
        assert masks[-1].shape == (2, 1, 64, 64)


def test_a_width_that_a_backbone_cannot_split_is_refused() -> None:
    with pytest.raises(SonotuneError, match="multiples of 12"):
        resolve(over("swin_unetr", width=16))


def test_a_region_is_the_mean_of_the_pixels_that_belong_to_it() -> None:
    pixels = torch.arange(8.0).reshape(1, 2, 2, 2)
    regions = torch.full((1, 2, 2, 2), -50.0)
    regions[0, 0, 0, :] = regions[0, 1, 1, :] = 50.0  # the upper row, the lower row
    assert gather(pixels, regions)[0, :, :, 0].tolist() == [[0.5, 2.5], [4.5, 6.5]]


def test_the_relation_of_a_pixel_to_the_regions_sums_to_one() -> None:
    weights = relate(torch.randn(2, 4, 3, 3), torch.randn(2, 4, 2, 1))
    assert weights.shape == (2, 9, 2)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 9))


def test_object_context_keeps_the_resolution_and_returns_its_coarse_regions() -> None:
    refined, regions = ObjectContext(8, 16, 8, "group")(torch.randn(2, 8, 12, 12))
    assert refined.shape == (2, 16, 12, 12)
    assert regions.shape == (2, 2, 12, 12)
