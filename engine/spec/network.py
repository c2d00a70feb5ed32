"""A network: which one, and the switches that the published systems share.

A field left at its default means the system's own choice (`sonotune models` shows it). A switch that a
system does not have is refused where it is set: see `engine.models.registry.resolve`.
"""

from typing import Literal

from pydantic import Field

from engine.spec.section import Section

TaskName = Literal["segment", "classify"]
NormName = Literal["batch", "group", "instance"]
BackboneName = Literal[
    "plain_unet", "plain_resunet", "unet", "res_unet", "attention_unet", "segresnet", "unetpp", "nnunet",
    "swin_unetr", "resnet_unet",
]  # fmt: skip
HeadName = Literal[
    "bottleneck", "multi-scale", "backbone-features", "feature-processing", "refined-features", "stage-5",
    "stages-4-5-6",
]  # fmt: skip
EncoderName = Literal["resnet18", "resnet34", "resnet50", "resnext50_32x4d"]


class Network(Section):
    name: str = "unet_mtl"
    """A row of `sonotune models`."""
    backbone: BackboneName | None = None
    """The network that makes the feature maps, for systems that work over any."""
    tasks: tuple[TaskName, ...] | None = Field(None, min_length=1, max_length=2)
    """What it is built for: `[segment, classify]`, or one of them; a part nobody needs is not built."""
    head: HeadName | None = None
    """What the classifier reads: the deepest map, one map of each level, the map that the mask is read from,
    the prediction-refining framework's merged maps, the map that object context has refined, or ACSNet's one
    or three stages."""
    width: int | None = Field(None, ge=1, le=512)
    """Channels at full resolution; each halving of the resolution doubles them."""
    depth: int | None = Field(None, ge=1, le=7)
    """How often the resolution is halved."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Chance that a channel of the deepest map, and an input of the classifier's last layer, is dropped."""
    norm: NormName | None = None
    """Normalisation after convolutions."""
    weights: str = Field("none", min_length=1)
    """`none`, `imagenet` or the path of a state_dict, for systems with a pretrained part."""
    deep_supervision: bool | None = None
    """Masks at every level of the decoder enter the loss, not only the last one."""
    oca: bool | None = None
    """Object-contextual attention between the backbone and the mask (MTL-OCA)."""
    encoder: EncoderName | None = None
    """The residual network that reads the image, for systems over one. With these, a depth of 4 means a first
    stage at full resolution, a depth of 5 a stem that halves it, as published for ImageNet."""
    gate: bool | None = None
    """A gate unit on every skip connection (ACSNet)."""
    dsa: bool | None = None
    """Deformable spatial attention in every stage of the decoder (ACSNet)."""
    channel_attention: bool | None = None
    """Channel attention on every map that the classifier reads (ACSNet)."""
    layers: int | None = Field(None, ge=1, le=24)
    """Transformer blocks (TransUNet)."""
