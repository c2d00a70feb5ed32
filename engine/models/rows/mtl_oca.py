"""MTL-OCA (Lu et al. 2025), its ablations and the two networks that it is compared with."""

from engine.models.row import BOTH, CLASSIFY, SEGMENT, Row

BUILD = "engine.models.mtl_oca:build"
SHARED = {"backbone": "plain_resunet", "tasks": BOTH, "oca": True, "head": "backbone-features"}
CHOICES = {
    "backbone": ("plain_resunet", "plain_unet"),
    "tasks": (BOTH, SEGMENT),
    "head": ("backbone-features", "refined-features", "bottleneck", "multi-scale", "feature-processing"),
}
REFINED = CHOICES | {"oca": (True,), "head": ("refined-features",)}
SMALL = {"width": 8, "depth": 3}

ROWS = (
    Row("mtl_oca", BUILD, "mtl-oca", "Res-UNet, object context for the mask, classifier on the backbone",
        SHARED, CHOICES, SMALL),
    Row("mtl_oca_no_oca", BUILD, "mtl-oca", "ablation: the backbone alone makes mask and class",
        SHARED | {"oca": False}, CHOICES | {"oca": (False,)}, SMALL),
    Row("mtl_oca_cls_on_oca", BUILD, "mtl-oca", "ablation: the classifier reads the refined map",
        SHARED | {"head": "refined-features"}, REFINED, SMALL),
    Row("unet_st", "engine.models.multitask:build", "mtl-oca", "U-Net for one task: segment, or classify",
        {"backbone": "plain_unet", "tasks": SEGMENT, "head": "bottleneck", "width": 64},
        {"backbone": ("plain_unet",), "tasks": (SEGMENT, CLASSIFY)}, SMALL),
    Row("mt_dunet", "engine.models.multitask:build", "mtl-oca", "U-Net with a classifier on the bottleneck",
        {"backbone": "plain_unet", "tasks": BOTH, "head": "bottleneck", "width": 64},
        {"backbone": ("plain_unet", "resnet_unet"), "tasks": (BOTH,), "head": ("bottleneck",)}, SMALL),
)  # fmt: skip
