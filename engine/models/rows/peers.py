"""The networks that ACSNet's paper compares with."""

from engine.models.row import BOTH, CLASSIFY, SEGMENT, Row

SINGLE, MULTI = "engine.models.peers_single:", "engine.models.peers_multi:"
TASKS = (BOTH, SEGMENT, CLASSIFY)
SMALL = {"width": 6}
OVER_RESNET = {
    "tasks": SEGMENT,
    "encoder": "resnet18",
    "width": 64,
    "depth": 4,
    "norm": "group",
    "weights": "none",
}
NARROW = {"tasks": (SEGMENT,), "depth": (4, 5), "norm": ("batch", "group")}
OVER_UNET = {"backbone": "resnet_unet", "tasks": BOTH, "head": "bottleneck"}

ROWS = (
    Row("fcn", SINGLE + "fcn", "acsnet", "FCN-8s over a ResNet", OVER_RESNET, NARROW, SMALL,
        width_multiple=2),
    Row("fpn", SINGLE + "fpn", "acsnet", "feature pyramid over a ResNet", OVER_RESNET, NARROW, SMALL,
        width_multiple=2),
    Row("deeplabv3plus", SINGLE + "deeplabv3plus", "acsnet", "DeepLabV3+ over a ResNet", OVER_RESNET, NARROW,
        SMALL, width_multiple=2),
    Row("unetpp_r18", SINGLE + "unetpp", "acsnet", "UNet++ over a ResNet",
        {**OVER_RESNET, "deep_supervision": False}, NARROW, SMALL, width_multiple=2),
    Row("trans_unet", "engine.models.trans_unet:build", "acsnet",
        "TransUNet: ResNet-50, ViT-B/16, U-Net decoder",
        {"tasks": SEGMENT, "width": 64, "layers": 12, "norm": "group", "weights": "none"},
        {"tasks": (SEGMENT,), "norm": ("batch", "group")}, {"width": 6, "layers": 2}, stride=16),
    Row("wang_mtl", MULTI + "wang", "acsnet",
        "an enhancing network before a multi-task U-Net (Wang et al. 2018)",
        {**OVER_UNET, "head": "stage-5", "channel_attention": False},
        {"backbone": ("resnet_unet",), "tasks": TASKS, "head": ("stage-5", "stages-4-5-6")}, SMALL,
        cam="network.classifier.seen"),
    Row("chen_mtl", "engine.models.multitask:build", "acsnet",
        "U-Net with a classifier on its bottleneck (Chen et al. 2019), over a ResNet: mt_dunet's other name",
        OVER_UNET,
        {"backbone": ("resnet_unet", "plain_unet"), "tasks": (BOTH,), "head": ("bottleneck",)}, SMALL),
    Row("qu_mtl", MULTI + "qu", "acsnet", "classes pixel by pixel, pooled over the lesion (Qu et al. 2019)",
        {"backbone": "resnet_unet", "tasks": BOTH, "depth": 5},
        {"backbone": ("resnet_unet",), "tasks": (BOTH, SEGMENT)}, {"width": 8}),
)  # fmt: skip
