"""ACSNet (He et al. 2024) and the nine ablations of its Table 1: switches of one network."""

from typing import Any

from engine.models.row import BOTH, CLASSIFY, SEGMENT, Row

ONE, THREE = "stage-5", "stages-4-5-6"
CHOICES: dict[str, Any] = {
    "backbone": ("resnet_unet",),
    "tasks": (BOTH, SEGMENT, CLASSIFY),
    "head": (ONE, THREE),
}


def acs(name: str, about: str, head: str = ONE, tasks: tuple[str, ...] = BOTH, **on: bool) -> Row:
    """A row differs from the plain multi-task U-Net by what is on."""
    off = {"gate": False, "dsa": False, "channel_attention": False}
    defaults = {"backbone": "resnet_unet", "tasks": tasks, "head": head, **off, **on}
    return Row(name, "engine.models.multitask:build", "acsnet", about, defaults, CHOICES, {"width": 6})


ROWS = (
    acs("acsnet", "ACSNet: gate units, deformable attention, multi-scale classifier with channel attention",
        THREE, gate=True, dsa=True, channel_attention=True),
    acs("unet_r18", "ACSNet's baseline for masks: U-Net with a ResNet-18 encoder", tasks=SEGMENT),
    acs("cls_net", "ACSNet's baseline for classes: the encoder and two layers", tasks=CLASSIFY),
    acs("cunet", "ACSNet's multi-task baseline: classes from stage 5"),
    acs("cu_g_net", "CUNet with gate units", gate=True),
    acs("c_a_unet", "CUNet with channel attention", channel_attention=True),
    acs("cu_a_net", "CUNet with deformable attention", dsa=True),
    acs("cu_ga_net", "CUNet with gate units and deformable attention", gate=True, dsa=True),
    acs("c_ms_unet", "CUNet with the multi-scale classifier", THREE),
    acs("c_ams_unet", "CUNet with the multi-scale classifier and channel attention", THREE,
        channel_attention=True),
)  # fmt: skip
