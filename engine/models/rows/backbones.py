"""The backbones: own plain U-Nets, and MONAI's networks taken apart by their submodules."""

from engine.models.row import Backbone

OWN = "engine.models.unet:"
MONAI = "engine.models.backbones:"
SMALL = {"width": 8, "depth": 3}
DEEP = {"depth": range(2, 8)}  # the level above the bottleneck must be there to be merged

BACKBONES = (
    Backbone("plain_unet", OWN + "plain_unet", "U-Net: two convolutions per level, max-pool down",
             {"width": 32, "depth": 4, "norm": "batch"}, small=SMALL),
    Backbone("plain_resunet", OWN + "plain_resunet", "residual U-Net: max-pool down, upsample + conv up",
             {"width": 64, "depth": 3, "norm": "group"}, small=SMALL),
    Backbone("unet", MONAI + "unet", "MONAI UNet: one strided convolution per level",
             {"width": 32, "depth": 4, "norm": "instance"}, DEEP, small=SMALL),
    Backbone("res_unet", MONAI + "res_unet", "MONAI UNet with two residual units per level",
             {"width": 32, "depth": 4, "norm": "instance"}, DEEP, small=SMALL),
    Backbone("attention_unet", MONAI + "attention_unet", "MONAI AttentionUnet: attention gates on the skips",
             {"width": 32, "depth": 4, "norm": "batch"}, {"norm": ("batch",)}, 2, SMALL),
    Backbone("segresnet", MONAI + "segresnet", "MONAI SegResNet: pre-activated residual blocks",
             {"width": 32, "depth": 3, "norm": "group"}, small={"width": 8, "depth": 2}),
    Backbone("unetpp", MONAI + "unetpp", "MONAI BasicUNetPlusPlus: nested, dense skips",
             {"width": 32, "depth": 4, "norm": "instance"}, {"depth": (4,)}, 2, {"width": 4}),
    Backbone("nnunet", MONAI + "nnunet", "MONAI DynUNet: instance norm, LeakyReLU, as nnU-Net plans it",
             {"width": 32, "depth": 5, "norm": "instance"}, DEEP, small=SMALL),
    Backbone("swin_unetr", "engine.models.swin:swin_unetr", "MONAI SwinUNETR: encoder of shifted windows",
             {"width": 24, "depth": 5, "norm": "instance"}, {"depth": range(2, 6)}, 12,
             {"width": 12, "depth": 3}),
    Backbone("resnet_unet", "engine.models.resnet_unet:build", "U-Net with a ResNet encoder",
             {"encoder": "resnet18", "width": 64, "depth": 4, "norm": "group", "weights": "none",
              "gate": False, "dsa": False},
             {"depth": (4, 5), "norm": ("batch", "group")}, 2, {"width": 6}),
)  # fmt: skip
