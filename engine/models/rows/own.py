"""The plain multi-task U-Net of the quick start."""

from engine.models.row import BOTH, CLASSIFY, SEGMENT, Row

HEADS = ("bottleneck", "multi-scale", "backbone-features", "feature-processing")
TASKS = (BOTH, SEGMENT, CLASSIFY)

ROWS = (
    Row("unet_mtl", "engine.models.multitask:build", "own",
        "U-Net with a classifier on its deepest map; the quick start's model",
        {"backbone": "plain_unet", "tasks": BOTH, "head": "bottleneck", "width": 16},
        {"backbone": ("plain_unet", "plain_resunet"), "tasks": TASKS, "head": HEADS},
        {"width": 8, "depth": 3}),
)  # fmt: skip
