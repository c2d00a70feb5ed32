"""The segmenters and classifiers of the two-stage system (Li et al. 2025); each is a model of its own."""

from typing import Any

from engine.models.row import CLASSIFY, SEGMENT, Row

U2NET = "engine.models.u2net:"
CLASSIFIERS = "engine.models.classifiers:"
NESTED: dict[str, Any] = {"tasks": SEGMENT, "width": 64, "norm": "batch", "deep_supervision": True}
ALEXNET: dict[str, Any] = {"tasks": CLASSIFY, "width": 64, "weights": "none"}
STRIDE = 32


def resnet(name: str, encoder: str, about: str, small: dict[str, Any]) -> Row:
    defaults = {"tasks": CLASSIFY, "encoder": encoder, "width": 64, "norm": "batch", "weights": "none"}
    choices = {"tasks": (CLASSIFY,), "encoder": (encoder,), "norm": ("batch", "group")}
    build, cam = CLASSIFIERS + "resnet", "network.layer4"
    return Row(name, build, "two-stage", about, defaults, choices, small, cam, STRIDE, width_multiple=2)


ROWS = (
    Row("u2net", U2NET + "full", "two-stage", "U2-Net: nested U-structure, six side outputs and their fusion",
        NESTED, {"tasks": (SEGMENT,)}, {"width": 4}, stride=STRIDE),
    Row("u2net_lite", U2NET + "lite", "two-stage", "U2-Net's small form, 1.1 M parameters",
        NESTED, {"tasks": (SEGMENT,)}, {"width": 24}, stride=STRIDE),
    resnet("deepcardinal50", "resnext50_32x4d", "ResNeXt-50 32x4d classifier", {"width": 4}),
    resnet("resnet34", "resnet34", "ResNet-34 classifier", {"width": 6}),
    resnet("resnet50", "resnet50", "ResNet-50 classifier", {"width": 6}),
    Row("alexnet", CLASSIFIERS + "alexnet", "two-stage", "AlexNet classifier",
        ALEXNET, {"tasks": (CLASSIFY,)}, {"width": 4}, "network.features", STRIDE),
)  # fmt: skip
