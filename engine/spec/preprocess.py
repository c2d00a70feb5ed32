"""What is done to an image once, before any epoch."""

from typing import Literal

from pydantic import Field

from engine.spec.section import Section


class Preprocess(Section):
    """In this order: denoise, equalise, derivative channel, normalise."""

    denoise: Literal["none", "median", "bilateral"] = "none"
    """Filter against speckle."""
    denoise_size: Literal[3, 5, 7, 9] = 3
    """Side of the filter's window in pixels."""
    denoise_range: float = Field(0.1, gt=0.0, le=1.0)
    """Grey difference (share of the full range) across which the bilateral filter still averages."""
    clahe: float = Field(0.0, ge=0.0, le=40.0)
    """Clip limit of contrast-limited adaptive histogram equalisation; 0 leaves it out."""
    clahe_tiles: int = Field(8, ge=1, le=64)
    """Tiles per side of that equalisation."""
    derivative: float = Field(0.0, ge=0.0, le=16.0)
    """Sigma in pixels of the Gaussian-derivative magnitude given as a second channel; 0: no such channel."""
    normalise: Literal["unit", "image", "dataset"] = "image"
    """Grey to 0..1, or to mean 0 and deviation 1 by each image's or by the training cases' own figures."""

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 2 if self.derivative > 0 else 1
