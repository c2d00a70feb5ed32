"""ResNets, ResNeXt and AlexNet: torchvision's sizes and names, any width, weights from a file."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import SonotuneError
from engine.models.alexnet import AlexNet
from engine.models.registry import build
from engine.models.resnet import Bottleneck, Pointwise, ResNet, ResNetEncoder
from engine.spec.model import Model

torch.set_num_threads(1)
# Parameters of torchvision's networks with 1000 classes, and number of entries of their state_dict.
PUBLISHED = {
    "resnet18": (11_689_512, 122),
    "resnet34": (21_797_672, 218),
    "resnet50": (25_557_032, 320),
    "resnext50_32x4d": (25_028_904, 320),
    "alexnet": (61_100_840, 16),
}


def _classifier(
    name: str, inputs: int = 3, classes: int = 1000, width: int = 64, weights: str = "none"
) -> nn.Module:
    if name == "alexnet":
        return AlexNet(inputs, classes, width, weights=weights)
    return ResNet(name, inputs, classes, width, weights=weights)


@pytest.mark.parametrize("name", PUBLISHED)
def test_full_width_has_the_published_parameters(name: str) -> None:
    with torch.device("meta"):
        model = _classifier(name)
    assert (sum(p.numel() for p in model.parameters()), len(model.state_dict())) == PUBLISHED[name]


def test_the_names_are_torchvisions() -> None:
    with torch.device("meta"):
        names = set(ResNet("resnet50", 3, 1000).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv3.weight",
        "layer4.2.bn3.bias",
        "fc.bias",
    } <= names
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} <= names


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_thin_form_classifies_and_stays_under_300000_parameters(name: str) -> None:
    model = _classifier(name, inputs=2, classes=3, width=4 if name != "resnet34" else 6).eval()
    assert model(torch.rand(1, 2, 64, 96)).shape == (1, 3)
    assert sum(p.numel() for p in model.parameters()) < 300_000


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
@pytest.mark.parametrize(("stem_stride", "dilated"), [(2, False), (1, False), (2, True)])
def test_the_encoder_gives_the_maps_it_announces(name: str, stem_stride: int, dilated: bool) -> None:
    encoder = ResNetEncoder(name, 1, 8, "group", stem_stride, dilated).eval()  # type: ignore[arg-type]
    shapes = [tuple(m.shape) for m in encoder(torch.rand(1, 1, 64, 96))]
    wanted = zip(encoder.channels, encoder.strides, strict=True)
    assert shapes == [(1, channels, 64 // stride, 96 // stride) for channels, stride in wanted]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_strided_pointwise_convolution_is_an_ordinary_one_in_any_layout(
    layout: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    x, seen = torch.randn(2, 8, 96, 96), torch.randn(2, 16, 48, 48)
    plain, ours = nn.Conv2d(8, 16, 1, 2, bias=False), Pointwise(8, 16, 1, 2, bias=False)
    ours.load_state_dict(plain.state_dict())
    found = []
    for layer, given in ((plain, x.clone()), (ours, x.to(memory_format=layout))):
        y = layer(given.requires_grad_())
        found.append((y, *torch.autograd.grad((y * seen).sum(), (given, layer.weight))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_a_stack_of_bottlenecks_begins_as_its_shortcuts(name: str) -> None:
    encoder = ResNetEncoder(name, 1, 4).eval()
    for block in (block for block in encoder.modules() if isinstance(block, Bottleneck)):
        x = torch.rand(1, block.conv1.in_channels, 8, 8)
        assert torch.equal(block(x), x if block.downsample is None else block.downsample(x).relu())


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "alexnet"])
def test_a_file_of_the_same_layout_fills_the_whole_network(name: str, tmp_path: Path) -> None:
    source = _classifier(name, classes=3, width=8)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    loaded = _classifier(name, classes=3, width=8, weights=str(tmp_path / "weights.pth"))
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_a_file_exported_from_a_model_of_ours_fills_the_network_as_well(tmp_path: Path) -> None:
    source = build(Model(name="resnet34", width=8), 1, 3, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    again = build(Model(name="resnet34", width=8, weights=str(tmp_path / "weights.pt")), 1, 3, 64)
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in again.state_dict().items())


def test_a_head_of_other_classes_stays_fresh_and_the_body_is_loaded(tmp_path: Path) -> None:
    source = _classifier("resnet18", classes=1000, width=8)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    loaded = _classifier("resnet18", classes=3, width=8, weights=str(tmp_path / "weights.pth"))
    assert loaded.state_dict()["fc.weight"].shape == (3, 64)
    assert torch.equal(
        loaded.state_dict()["layer4.1.conv2.weight"], source.state_dict()["layer4.1.conv2.weight"]
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_grey_image_excites_the_rgb_filters_as_its_three_copies_would(
    tmp_path: Path, channels: int
) -> None:
    """Also where it comes in several channels: what lies behind was learned from answers of this size."""
    source = _classifier("resnet18", width=8).eval()
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    grey = ResNetEncoder("resnet18", channels, 8, weights=str(tmp_path / "weights.pth")).eval()
    image = torch.rand(1, 1, 32, 32)
    rgb = source.conv1(image.expand(-1, 3, -1, -1))  # type: ignore[operator]
    assert torch.allclose(grey.conv1(image.expand(-1, channels, -1, -1)), rgb, atol=1e-5)


@pytest.mark.parametrize(
    ("written", "asked", "complaint"),
    [
        ("resnet34", "resnet18", "foreign"),
        ("resnet18", "resnet34", "missing"),
        ("wide", "resnet18", "shapes"),
    ],
)
def test_weights_of_another_network_are_refused(
    written: str, asked: str, complaint: str, tmp_path: Path
) -> None:
    source = _classifier("resnet18", width=16) if written == "wide" else _classifier(written, width=8)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SonotuneError, match=complaint):
        _classifier(asked, width=8, weights=str(tmp_path / "weights.pth"))


def test_a_pickled_model_is_refused_and_not_executed(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "model.pth")
    with pytest.raises(SonotuneError, match="state_dict"):
        ResNetEncoder(weights=str(tmp_path / "model.pth"))


def test_a_path_without_a_file_is_named() -> None:
    with pytest.raises(SonotuneError, match="nowhere"):
        ResNetEncoder(width=4, weights="nowhere.pth")


def test_imagenet_without_a_network_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("engine.models.weights.ADDRESS", "http://127.0.0.1:9/")
    with pytest.raises(SonotuneError, match=r"cannot be reached .*weights: none") as caught:
        ResNetEncoder(width=4, weights="imagenet")
    assert "\n" not in str(caught.value)


def test_a_download_with_another_sha256_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(ResNet("resnet18", 3, 1000, 4).state_dict(), tmp_path / "resnet18-f37072fd.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("engine.models.weights.ADDRESS", f"file://{tmp_path}/")
    with pytest.raises(SonotuneError, match="sha256"):
        ResNetEncoder(width=4, weights="imagenet")
