"""Images as the network gets them, before augmentation: denoised, equalised, normalised.

Nothing here depends on the epoch, and only `dataset` normalisation depends on the fold, so everything
before normalisation is kept for the next task of the same worker.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.spec.preprocess import Preprocess

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
Scale = tuple[list[float], list[float]]  # mean and deviation of each channel

KEPT = 2  # filtered data sets in memory: the one in use and the one of the task before
FLAT = 1e-6  # a deviation below this is a constant image

_filtered: OrderedDict[tuple[str, str], Floats] = OrderedDict()
_lock = Lock()


def prepare(images: Grey, spec: Preprocess, training: NDArray[np.int64]) -> Floats:
    """images: [N, H, W] -> [N, H, W, C]. Only the cases in `training` are looked at for data-set figures."""
    channels = filtered(images, spec)
    if spec.normalise == "unit":
        return channels.copy()
    if spec.normalise == "image":
        return standardise(channels, channels, axis=(1, 2))
    return standardise(channels, channels[training], axis=(0, 1, 2))


def training_scale(images: Grey, spec: Preprocess, training: NDArray[np.int64]) -> Scale | None:
    """What `dataset` normalisation takes from the training cases, for images that come later."""
    if spec.normalise != "dataset":
        return None
    mean, deviation = measured(filtered(images, spec)[training], axis=(0, 1, 2))
    return mean.ravel().tolist(), deviation.ravel().tolist()


def standardise(values: Floats, sample: Floats, axis: tuple[int, ...]) -> Floats:
    """Mean 0 and deviation 1 as measured on `sample`."""
    mean, deviation = measured(sample, axis)
    return np.asarray((values - mean) / deviation, dtype=np.float32)


def measured(sample: Floats, axis: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation; something constant has deviation 1 and so becomes 0."""
    mean = sample.mean(axis, dtype=np.float64, keepdims=True)
    deviation = sample.std(axis, dtype=np.float64, keepdims=True)
    return mean, np.where(deviation < FLAT, 1.0, deviation)


def filtered(images: Grey, spec: Preprocess) -> Floats:
    """Everything but normalisation, remembered by content."""
    key = (content(images), spec.model_dump_json(exclude={"normalise"}))
    with _lock:
        if key in _filtered:
            _filtered.move_to_end(key)
            return _filtered[key]
    result = np.stack([channels(image, spec) for image in images])
    result.setflags(write=False)
    with _lock:
        _filtered[key] = result
        while len(_filtered) > KEPT:
            _filtered.popitem(last=False)
    return result


def content(images: Grey) -> str:
    return hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=16).hexdigest() + str(images.shape)


def channels(image: Grey, spec: Preprocess) -> Floats:
    """image: [H, W] -> [H, W, C] in 0..1."""
    for step in steps(spec):
        image = step(image)
    grey = image.astype(np.float32) / np.float32(255.0)
    if spec.derivative == 0:
        return grey[:, :, None]
    edge_of_one = np.float32(spec.derivative * np.sqrt(2.0 * np.pi))  # so that a step from 0 to 1 gives 1
    return np.stack([grey, gradient_magnitude(grey, spec.derivative) * edge_of_one], axis=-1)


def steps(spec: Preprocess) -> list[Callable[[Grey], Grey]]:
    """Filters on 8-bit images, in their order."""
    chosen: list[Callable[[Grey], Grey]] = []
    if spec.denoise == "median":
        chosen.append(lambda image: cv2.medianBlur(image, spec.denoise_size).astype(np.uint8))
    if spec.denoise == "bilateral":
        reach = spec.denoise_range * 255.0
        size = spec.denoise_size
        chosen.append(lambda image: cv2.bilateralFilter(image, size, reach, size / 2.0).astype(np.uint8))
    if spec.clahe > 0:
        equaliser = cv2.createCLAHE(spec.clahe, (spec.clahe_tiles, spec.clahe_tiles))
        chosen.append(lambda image: equaliser.apply(image).astype(np.uint8))
    return chosen


def gaussian_kernels(sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A sampled Gaussian that sums to 1, and its derivative, out to four deviations."""
    reach = int(4.0 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    smooth = np.exp(-0.5 * (offsets / sigma) ** 2)
    smooth /= smooth.sum()
    return smooth, smooth * offsets / sigma**2


def gradient_magnitude(image: Floats, sigma: float) -> Floats:
    """Length of the gradient of the image after Gaussian smoothing: [H, W] -> [H, W]."""
    smooth, slope = gaussian_kernels(sigma)
    across = cv2.sepFilter2D(image, cv2.CV_32F, slope, smooth, borderType=cv2.BORDER_REFLECT)
    down = cv2.sepFilter2D(image, cv2.CV_32F, smooth, slope, borderType=cv2.BORDER_REFLECT)
    return np.hypot(across, down).astype(np.float32)
