"""What is minimised: a loss per task, and how the tasks are weighed against each other."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.section import Section

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Schedule(Section):
    """λ over the epochs, read when `loss.weighting` is `scheduled`; it starts at `loss.lambda`."""

    shape: Literal["linear", "cosine", "step"] = "linear"
    """How λ moves: evenly, slowly at both ends, or at once after the last epoch of the schedule."""
    to: float = Field(0.5, ge=0, le=1)
    """λ after the schedule."""
    start: int = Field(0, ge=0)
    """Epochs before λ begins to move."""
    epochs: int = Field(50, ge=1)
    """Epochs that the move takes."""


class FeatureLoss(Section):
    """The frozen VGG-16 through which `loss.gamma` compares prediction and truth."""

    weights: str = "none"
    """`none` (random filters of a fixed seed), `imagenet`, or the path of a VGG-16 state dict."""
    levels: int = Field(4, ge=1, le=5)
    """How many of its levels are compared, from the finest on."""


class Loss(Section):
    """total = λ·segmentation + (1 − λ)·classification. A model of one task has that task's loss alone."""

    lambda_: float = Field(0.5, ge=0, le=1, alias="lambda")
    """λ, always the weight of segmentation."""
    segmentation: Literal[
        "auto", "dice", "dice_squared", "cross_entropy", "focal", "dice_ce", "dice_focal", "tversky"
    ] = "auto"
    """The loss of each lesion map. `dice` divides by the plain sums, `dice_squared` by sums of squares.
    `auto` is `dice` for a model that segments; any other name is refused for one that does not."""
    classification: Literal["auto", "focal", "cross_entropy", "binary_cross_entropy"] = "auto"
    """The loss of the class logits. `binary_cross_entropy` asks of each class whether it is the one, by its
    softmax probability; of two classes that is `cross_entropy`.
    `auto` is `focal` for a model that classifies; any other name is refused for one that does not."""
    smooth: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Added to numerator and denominator of Dice and Tversky, so that an empty mask has a loss."""
    focal_gamma: float = Field(2.0, ge=0, le=10)
    """The focusing exponent of every focal loss; 0 is plain cross-entropy."""
    tversky_false_positive: float = Field(0.3, gt=0, le=1)
    """Weight of false positives in the Tversky index."""
    tversky_false_negative: float = Field(0.7, gt=0, le=1)
    """Weight of false negatives in the Tversky index; 0.5 and 0.5 is Dice."""
    class_weights: Literal["none", "balanced"] | tuple[Weight, ...] = "none"
    """Weights of the classes: `balanced` is cases / (classes × cases of the class) in training; or a list."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label's mass that is spread evenly over the classes."""
    deep_supervision: Literal["auto", "inverse", "equal", "off"] = "auto"
    """Weights of a model's lesion maps: 1/i with i = 1 for the final map, 1 for all, or the final map only.
    `auto` is `inverse` wherever a model returns several maps."""
    alpha: float | None = Field(None, ge=0, le=10)
    """α, weight of the soft-region loss beside the mask's. Unset: 0.4 for a model with soft regions, as in
    its paper, and nothing for any other."""
    gamma: float = Field(0.0, ge=0, le=10)
    """γ, weight of the feature loss (LossNet) beside the mask's; 0 switches it off."""
    lossnet: FeatureLoss = FeatureLoss()
    """The network of the feature loss."""
    reconstruction: float | None = Field(None, ge=0, le=10)
    """Weight of the mean squared error of a reconstructed image, added to the total as a regulariser. Unset:
    1 for a model that reconstructs its input, and nothing for any other."""
    weighting: Literal["fixed", "scheduled", "uncertainty", "dwa"] = "fixed"
    """How λ lives: fixed, moved along `schedule`, replaced by learned uncertainties that start at λ and
    1 − λ, or modulated by how fast each task's loss falls (dynamic weight averaging)."""
    schedule: Schedule = Schedule()
    """The path of λ for `weighting: scheduled`."""
    dwa_temperature: float = Field(2.0, gt=0, le=100)
    """Softness of dynamic weight averaging: the higher, the closer to the fixed λ."""
