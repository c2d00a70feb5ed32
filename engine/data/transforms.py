"""The few transforms that albumentations lacks, as albumentations transforms.

Apart from `augment.py` because a class must know its parent: importing this imports albumentations, which
takes seconds, and a search that augments nothing never needs it.
"""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray


class Turn(A.Rotate):
    """By an angle drawn between two limits, to either side: 10 to 30 degrees never means almost none."""

    def __init__(self, degrees: tuple[float, float], p: float) -> None:
        super().__init__(limit=(-degrees[1], degrees[1]), p=p)
        self.degrees = degrees

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        angle = self.py_random.uniform(*self.degrees)
        self.limit = (angle, angle) if self.py_random.random() < 0.5 else (-angle, -angle)
        return super().get_params_dependent_on_data(params, data)


class Bend(A.ElasticTransform):
    """Smooth displacement whose root mean square is drawn in shares of the side, not in filter units."""

    def __init__(self, shares: tuple[float, float], smoothness: float, p: float) -> None:
        super().__init__(noise_distribution="uniform", p=p)
        self.shares, self.smoothness = shares, smoothness

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        side = max(params["shape"][:2])
        self.sigma = self.smoothness * side
        wanted = self.py_random.uniform(*self.shares) * side
        self.alpha = wanted * np.sqrt(12.0 * np.pi) * self.sigma  # uniform noise, smoothed, to deviation 1
        return super().get_params_dependent_on_data(params, data)


class SpeckleNoise(A.ImageOnlyTransform):
    """Each pixel times 1 plus normal noise, of a deviation that is drawn per image."""

    def __init__(self, deviations: tuple[float, float], p: float) -> None:
        super().__init__(p=p)
        self.deviations = deviations

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        strength = np.float32(self.py_random.uniform(*self.deviations))
        noise = self.random_generator.standard_normal(params["shape"], np.float32)
        return {"factor": np.float32(1.0) + strength * noise}

    def apply(self, img: NDArray[np.float32], factor: NDArray[np.float32], **_: Any) -> NDArray[np.float32]:
        return np.clip(img * factor, 0.0, 1.0)


def cropping(kind: str, low: float, high: float, size: int, p: float) -> A.DualTransform:
    """A centre crop stretched again is a zoom; a random one is albumentations' own, but for its mask: the
    nearest pixel's corner, which is its default, lies half a pixel beside the image."""
    if kind == "centre":
        return A.Affine(scale=(1.0 / high, 1.0 / low), keep_ratio=True, p=p)
    exact = cv2.INTER_NEAREST_EXACT
    return A.RandomResizedCrop(
        (size, size), scale=(low**2, high**2), ratio=(1.0, 1.0), mask_interpolation=exact, p=p
    )
