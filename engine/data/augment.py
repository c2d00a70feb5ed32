"""The augmentation pipeline: albumentations, seeded per case.

Two stages. Geometry moves image and mask together and brings in black from outside, whatever number
black is after normalisation. Grey changes touch the first channel alone, in the image's own range scaled
to 0..1, so that their strengths mean the same under every normalisation; a derivative channel is moved
but not recoloured.

A pipeline belongs to one thread. All its transforms draw from one pair of generators that is set from the
seed of each call, so that a case's augmentation depends on that seed and on nothing else.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.spec.augment import Augment, Chance

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
Augmented = Callable[[Floats, Mask, int], tuple[Floats, Mask]]

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version


def pipeline(spec: Augment, size: int) -> Augmented:
    """image [H, W, C], mask [H, W] of 0/1 and a seed -> the changed two, of the same shapes."""
    if not any(isinstance(change, Chance) and change.p > 0 for _, change in spec):
        return lambda image, mask, seed: (image, mask)  # and albumentations is never imported
    cv2.setNumThreads(0)  # the threads are ours
    return Pipeline(spec, size)


class Pipeline:
    """Not for use by two threads at once: albumentations keeps the state of a call in its transforms."""

    def __init__(self, spec: Augment, size: int) -> None:
        self.moves = geometry(spec, size)
        self.tones = tones(spec)
        self.source = Source()
        for transform in (*self.moves, *self.tones):
            transform.set_random_state(self.source.generator, self.source.python)

    def __call__(self, image: Floats, mask: Mask, seed: int) -> tuple[Floats, Mask]:
        self.source.reset(seed)
        data: dict[str, Any] = {"image": image, "mask": mask}
        if self.moves:
            black = [float(value) for value in image.min((0, 1))]
            for transform in self.moves:
                transform.fill = black
                data = transform(**data)
        return self.recolour(data["image"]), data["mask"]

    def recolour(self, image: Floats) -> Floats:
        """Untouched, to the bit, where no transform happens to fire."""
        if not self.tones:
            return image
        grey = image[:, :, :1]
        low, high = float(grey.min()), float(grey.max())
        reach = np.float32(max(high - low, 1e-6))
        unit = (grey - np.float32(low)) / reach
        changed: dict[str, Any] = {"image": unit}
        for transform in self.tones:
            changed = transform(**changed)
        if changed["image"] is unit:
            return image
        grey = changed["image"].reshape(grey.shape) * reach + np.float32(low)
        return grey if image.shape[2] == 1 else np.concatenate([grey, image[:, :, 1:]], axis=2)


class Source:
    """One numpy and one Python generator, set to a seed without building anything anew."""

    def __init__(self) -> None:
        self.bits = np.random.Philox(0)
        self.generator = np.random.Generator(self.bits)
        self.python = random.Random()
        self.start = self.bits.state

    def reset(self, seed: int) -> None:
        self.start["state"]["key"][:] = (seed, 0)
        self.bits.state = self.start
        self.python.seed(seed)


def geometry(spec: Augment, size: int) -> list[Any]:
    """What moves image and mask together, in this order; what has no chance is left out."""
    import albumentations as A

    from engine.data import transforms as own

    crop, elastic = spec.crop, spec.elastic
    return likely([
        (spec.flip_horizontal, lambda p: A.HorizontalFlip(p=p)),
        (spec.flip_vertical, lambda p: A.VerticalFlip(p=p)),
        (spec.rotation, lambda p: own.Turn((spec.rotation.low, spec.rotation.high), p=p)),
        (spec.scale, lambda p: A.Affine(scale=(spec.scale.low, spec.scale.high), keep_ratio=True, p=p)),
        (crop, lambda p: own.cropping(crop.kind, crop.low, crop.high, size, p)),
        (elastic, lambda p: own.Bend((elastic.low, elastic.high), elastic.smoothness, p=p)),
    ])  # fmt: skip


def tones(spec: Augment) -> list[Any]:
    """What changes greys and leaves the mask alone."""
    import albumentations as A

    from engine.data import transforms as own

    shift, jitter, gamma, blur = spec.brightness_contrast, spec.colour_jitter, spec.gamma, spec.blur
    sides = (spec.dropout.low, spec.dropout.high)
    return likely([
        (shift, lambda p: A.RandomBrightnessContrast(shift.brightness, shift.contrast, p=p)),
        (gamma, lambda p: A.RandomGamma((100.0 * gamma.low, 100.0 * gamma.high), p=p)),
        (jitter, lambda p: A.ColorJitter(jitter.brightness, jitter.contrast, 0.0, 0.0, p=p)),
        (blur, lambda p: A.GaussianBlur(blur_limit=0, sigma_limit=(blur.low, blur.high), p=p)),
        (spec.speckle, lambda p: own.SpeckleNoise((spec.speckle.low, spec.speckle.high), p=p)),
        (spec.dropout, lambda p: A.CoarseDropout((1, spec.dropout.holes), sides, sides, fill=0.0, p=p)),
    ])  # fmt: skip


def likely(rows: list[tuple[Chance, Callable[[float], Any]]]) -> list[Any]:
    return [build(chance.p) for chance, build in rows if chance.p > 0]
