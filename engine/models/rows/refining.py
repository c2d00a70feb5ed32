"""The prediction-refining framework (Aumente-Maestro et al. 2025): its systems, backbones and peer."""

from engine.models.row import BOTH, CLASSIFY, SEGMENT, Row
from engine.models.rows.backbones import BACKBONES

BUILD = "engine.models.multitask:build"
HEADS = ("feature-processing", "bottleneck", "multi-scale", "backbone-features")
TASKS = (BOTH, SEGMENT, CLASSIFY)
SMALL = {backbone.name: backbone.small for backbone in BACKBONES}
COMPARED = ("unet", "attention_unet", "res_unet", "segresnet", "unetpp", "swin_unetr", "nnunet")


def multi_task(name: str, backbone: str, about: str) -> Row:
    defaults = {"backbone": backbone, "tasks": BOTH, "head": HEADS[0], "deep_supervision": True}
    choices = {"backbone": (backbone,), "tasks": (BOTH,), "head": HEADS}
    return Row(name, BUILD, "refining", about, defaults, choices, SMALL[backbone])


def single_task(name: str, tasks: tuple[str, ...], about: str) -> Row:
    """Over any backbone, UNet++ unless told otherwise."""
    defaults = {
        "backbone": "unetpp",
        "tasks": tasks,
        "head": HEADS[0],
        "deep_supervision": "segment" in tasks,
    }
    return Row(name, BUILD, "refining", about, defaults, {"tasks": (tasks,), "head": HEADS}, SMALL["unetpp"])


def compared(backbone: str) -> Row:
    """Segments, as in the comparison; may be given both tasks or the other one."""
    defaults = {"backbone": backbone, "tasks": SEGMENT, "head": HEADS[0], "deep_supervision": False}
    about = next(row.about for row in BACKBONES if row.name == backbone)
    choices = {"backbone": (backbone,), "tasks": TASKS, "head": HEADS}
    return Row(backbone, BUILD, "refining", about, defaults, choices, SMALL[backbone])


ROWS = (
    multi_task("mt_unetpp", "unetpp", "UNet++ with the feature-processing classifier and deep supervision"),
    multi_task("mt_nnunet", "nnunet", "nnU-Net with the feature-processing classifier and deep supervision"),
    Row("refining", BUILD, "refining", "the same framework over the backbone that model.backbone names",
        {"backbone": "unetpp", "tasks": BOTH, "head": HEADS[0], "deep_supervision": True},
        {"tasks": (BOTH,), "head": HEADS}, SMALL["unetpp"]),
    single_task("st_seg", SEGMENT, "one backbone that only segments"),
    single_task("st_cls", CLASSIFY, "one backbone's encoder that only classifies"),
    *(compared(backbone) for backbone in COMPARED),
    Row("adityan", "engine.models.adityan:build", "refining",
        "U-Net with branches for mask, class and the image itself",
        {"backbone": "plain_unet", "tasks": BOTH, "head": "bottleneck"},
        {"backbone": ("plain_unet", "plain_resunet"), "tasks": (BOTH,), "head": HEADS},
        {"width": 8, "depth": 3}, cam="network.classifier.seen", reconstructs=True),
)  # fmt: skip
