"""What is done to an image anew in every epoch, and the recipes of the published systems."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from engine.spec.section import Section


class Chance(Section):
    """A change that happens with probability `p`."""

    p: float = Field(0.0, ge=0.0, le=1.0)
    """Probability per image and epoch."""


class Ranged(Chance):
    """A change whose strength is drawn between `low` and `high`."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got low={self.low}, high={self.high}")
        return self


class Rotation(Ranged):
    """Degrees, to either side; what comes in from outside is black."""

    low: float = Field(0.0, ge=0.0, le=180.0)
    high: float = Field(15.0, ge=0.0, le=180.0)


class Scale(Ranged):
    """Zoom about the centre: 1.1 is a tenth larger."""

    low: float = Field(0.9, ge=0.25, le=4.0)
    high: float = Field(1.1, ge=0.25, le=4.0)


class Crop(Ranged):
    """Share of the side that is kept and stretched to full size again."""

    kind: Literal["centre", "random"] = "centre"
    low: float = Field(0.75, ge=0.1, le=1.0)
    high: float = Field(1.0, ge=0.1, le=1.0)


class Elastic(Ranged):
    """Smooth random displacement; its root mean square in shares of the side."""

    low: float = Field(0.005, ge=0.0, le=0.1)
    high: float = Field(0.015, ge=0.0, le=0.1)
    smoothness: float = Field(0.08, ge=0.02, le=0.5)
    """Sigma of the displacement's grain in shares of the side."""


class Jitter(Chance):
    """Largest change of brightness and of contrast, in shares of the image's range."""

    brightness: float = Field(0.2, ge=0.0, le=1.0)
    contrast: float = Field(0.2, ge=0.0, le=1.0)


class Gamma(Ranged):
    """Exponent of the grey curve; above 1 darkens."""

    low: float = Field(0.8, ge=0.1, le=10.0)
    high: float = Field(1.25, ge=0.1, le=10.0)


class Blur(Ranged):
    """Sigma of a Gaussian blur in pixels."""

    low: float = Field(0.3, ge=0.05, le=10.0)
    high: float = Field(1.5, ge=0.05, le=10.0)


class Speckle(Ranged):
    """Deviation of multiplicative noise."""

    low: float = Field(0.02, ge=0.0, le=1.0)
    high: float = Field(0.15, ge=0.0, le=1.0)


class Dropout(Ranged):
    """Black rectangles in the image, not in the mask; sides in shares of the image's side."""

    low: float = Field(0.05, gt=0.0, le=0.9)
    high: float = Field(0.2, gt=0.0, le=0.9)
    holes: int = Field(4, ge=1, le=64)
    """Most rectangles per image."""


Preset = Literal["none", "light", "mtl_oca", "refining", "acsnet", "two_stage"]

FLIPS: dict[str, dict[str, Any]] = {"flip_horizontal": {"p": 0.5}, "flip_vertical": {"p": 0.5}}
# Ranges that a paper does not print are our defaults: the contrast of mtl_oca and how far it crops, the
# probabilities of rotation, and of two_stage everything but the names of the changes.
PRESETS: Mapping[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "light": {"flip_horizontal": {"p": 0.5}, "rotation": {"p": 0.5}, "brightness_contrast": {"p": 0.5}},
    "mtl_oca": {
        **FLIPS,
        "rotation": {"p": 1.0, "high": 45.0},
        "crop": {"p": 0.5, "kind": "centre"},
        "brightness_contrast": {"p": 0.5, "brightness": 0.0},
    },
    "refining": {**FLIPS, "rotation": {"p": 1.0, "high": 180.0}},
    "acsnet": {**FLIPS, "rotation": {"p": 0.5, "low": 10.0, "high": 30.0}},
    "two_stage": {**FLIPS, "rotation": {"p": 0.5}, "colour_jitter": {"p": 0.5}, "blur": {"p": 0.3}},
}


class Augment(Section):
    """In this order. A preset fills what is not written; what is written wins over it."""

    preset: Preset = "light"
    """Recipe to start from: `none`, our `light` one, or that of a published system."""
    flip_horizontal: Chance = Chance()
    flip_vertical: Chance = Chance()
    rotation: Rotation = Rotation()
    scale: Scale = Scale()
    crop: Crop = Crop()
    elastic: Elastic = Elastic()
    brightness_contrast: Jitter = Jitter()
    """Added brightness, contrast about black."""
    gamma: Gamma = Gamma()
    colour_jitter: Jitter = Jitter()
    """Multiplied brightness, contrast about the image's mean; hue and saturation do nothing to grey."""
    blur: Blur = Blur()
    speckle: Speckle = Speckle()
    dropout: Dropout = Dropout()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        recipe = PRESETS.get(str(given.get("preset", "light")), {})
        return {**given, **{name: merge(values, given.get(name, {})) for name, values in recipe.items()}}


def merge(recipe: dict[str, Any], given: Any) -> Any:
    """A mistake in what was given is passed on untouched, for pydantic to name."""
    if isinstance(given, Section):
        return given
    return {**recipe, **given} if isinstance(given, Mapping) else given
