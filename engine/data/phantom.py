"""Synthetic breast-ultrasound images, for the demo, the tests and the benchmarks.

The image is formed as a scanner forms it: an echogenicity map (skin, fat, gland, muscle, a lesion) is
attenuated along the beam, multiplied by complex scatterers, filtered by a point-spread function that is
wider across the beam than along it, and its envelope is compressed logarithmically. What tells the
classes apart is physical too: outline, orientation and what the lesion does to the beam behind it. The
ranges of benign and malignant overlap on purpose, so that no single cue gives the class away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import SonotuneError

CLASSES = ("benign", "malignant", "normal")
SHARES = {"benign": 0.44, "malignant": 0.32, "normal": 0.24}  # uneven, as in the public data sets
CHUNK = 64  # images generated together: few enough to stay in the cache
DYNAMIC_RANGE = 56.0  # dB from black to white
FINEST = 96  # the outline's harmonics need no more angles than this

Floats = NDArray[np.float32]


class Scene(NamedTuple):
    """What a batch shows before any wave is sent: [N, S, S] maps along depth and across it."""

    echo: Floats  # dB
    attenuation: Floats  # dB per unit of depth, relative to the gain compensation
    masks: NDArray[np.uint8]


def generate(
    count: int, size: int, classes: Sequence[str], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, S, S], masks [N, S, S] of 0/1 and labels [N] (indices into `classes`), by seed."""
    check(count, size, classes)
    labels = draw_labels(count, classes, np.random.default_rng([seed, 0]))
    images = np.empty((count, size, size), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    kinds = np.array([CLASSES.index(name) for name in classes])[labels]
    for number, start in enumerate(range(0, count, CHUNK)):
        part = slice(start, min(start + CHUNK, count))
        generator = np.random.default_rng([seed, 1, number])
        scene = compose(kinds[part], size, generator)
        images[part], masks[part] = scan(scene, generator), scene.masks
    return images, masks, labels


def check(count: int, size: int, classes: Sequence[str]) -> None:
    unknown = sorted(set(classes) - set(CLASSES))
    if unknown or not classes or len(set(classes)) != len(classes):
        raise SonotuneError(f"phantom classes must be distinct and of {list(CLASSES)}, got {list(classes)}")
    if count < len(classes):
        raise SonotuneError(f"phantom count must be at least one per class ({len(classes)}), got {count}")
    if size < 16:
        raise SonotuneError(f"phantom size must be at least 16 pixels, got {size}")


def draw_labels(count: int, classes: Sequence[str], generator: np.random.Generator) -> NDArray[np.int64]:
    """Exact shares in a random order, at least one case of each class."""
    shares = np.array([SHARES[name] for name in classes])
    bounds = np.round(np.cumsum(shares / shares.sum()) * (count - len(classes))).astype(int)
    numbers = np.diff(bounds, prepend=0) + 1
    return generator.permutation(np.repeat(np.arange(len(classes)), numbers)).astype(np.int64)


def compose(kinds: NDArray[np.int64], size: int, generator: np.random.Generator) -> Scene:
    """Tissue first, then a lesion in those images whose kind has one."""
    count = len(kinds)
    echo = tissue(count, size, generator)
    base = generator.uniform(-3.0, 3.0, (count, 1, 1)).astype(np.float32)  # imperfect gain compensation
    attenuation = np.broadcast_to(base, echo.shape).copy()
    shape = lesion(kinds, size, generator)
    masks = (shape > 0.5).astype(np.uint8)
    darker = pick(generator, kinds, (-17.0, -7.5), (-18.0, -8.0))
    echo += shape * (darker + rough(count, size, 0.06, 2.0, generator))
    behind = pick(generator, kinds, (-34.0, 2.0), (-6.0, 38.0))
    attenuation += shape * behind
    return Scene(echo, attenuation, masks)


def pick(
    generator: np.random.Generator,
    kinds: NDArray[np.int64],
    benign: tuple[float, float],
    malignant: tuple[float, float],
) -> Floats:
    """One value per image [N, 1, 1], drawn from the range of its class."""
    low, high = (np.where(kinds == 1, malignant[end], benign[end]) for end in (0, 1))
    return generator.uniform(low, high).astype(np.float32)[:, None, None]


def tissue(count: int, size: int, generator: np.random.Generator) -> Floats:
    """Skin, fat, gland and muscle from the top, between wavy borders, with fat lobules in the gland."""
    depth = np.linspace(0.0, 1.0, size, dtype=np.float32)[None, :, None]
    levels = generator.normal([0.0, -9.0, -2.0, -7.0], [1.5, 2.0, 2.0, 2.0], (count, 4)).astype(np.float32)
    borders = generator.uniform([0.03, 0.14, 0.78], [0.06, 0.30, 0.95], (count, 3)).astype(np.float32)
    echo = np.broadcast_to(levels[:, :1, None], (count, size, size)).copy()
    for layer in range(3):
        border = (
            borders[:, layer, None, None] + waves(count, size, 0.012 * (layer + 1), generator)[:, None, :]
        )
        inside = np.clip((depth - border) * 40.0 + 0.5, 0.0, 1.0)
        echo += inside * (levels[:, layer + 1] - levels[:, layer])[:, None, None]
        fascia = np.exp(-(((depth - border) * 60.0) ** 2))
        echo += fascia * generator.uniform(0.0, 7.0, (count, 1, 1)).astype(np.float32)
    return echo + rough(count, size, 0.07, 2.0, generator) + lobules(count, size, generator)


def waves(count: int, size: int, height: float, generator: np.random.Generator) -> Floats:
    """A smooth curve [N, S] across the image."""
    across = np.linspace(0.0, 2.0 * np.pi, size, dtype=np.float32)
    phase = generator.uniform(0.0, 2.0 * np.pi, (count, 3, 1)).astype(np.float32)
    height_of = generator.normal(0.0, height, (count, 3, 1)).astype(np.float32)
    order = np.array([0.5, 1.0, 2.0], np.float32)[None, :, None]
    return (height_of * np.sin(order * across + phase)).sum(1)


def blurred(pixels: Floats, sigma: Sequence[float], mode: str, truncate: float) -> Floats:
    """scipy is imported when it is needed: what is packed already starts a fifth of a second sooner."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(pixels, sigma, mode=mode, truncate=truncate))


def rough(count: int, size: int, scale: float, strength: float, generator: np.random.Generator) -> Floats:
    """Smooth random variation in dB with the given standard deviation; `scale` is its grain."""
    noise = generator.standard_normal((count, size, size), np.float32)
    sigma = max(scale * size, 0.5)
    smooth = blurred(noise, (0, sigma * 0.7, sigma), "wrap", 2.5)
    return smooth * np.float32(strength * 2.0 * np.sqrt(np.pi * 0.7) * sigma)


def lobules(count: int, size: int, generator: np.random.Generator) -> Floats:
    """Dark soft blobs that are not lesions: what makes a normal image hard."""
    depth, across = grid(size)
    echo = np.zeros((count, size, size), np.float32)
    for _ in range(2):
        place = generator.uniform([0.2, 0.0], [0.9, 1.0], (count, 2)).astype(np.float32)
        radius = generator.uniform([0.03, 0.06], [0.08, 0.20], (count, 2)).astype(np.float32)
        down = ((depth - place[:, 0, None, None]) / radius[:, 0, None, None]) ** 2
        side = ((across - place[:, 1, None, None]) / radius[:, 1, None, None]) ** 2
        echo -= generator.uniform(0.0, 4.5, (count, 1, 1)).astype(np.float32) * np.exp(-(down + side))
    return echo


def grid(size: int) -> tuple[Floats, Floats]:
    """Depth [1, S, 1] and lateral position [1, 1, S] of the pixels' centres, in image sides."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return line[None, :, None], line[None, None, :]


def lesion(kinds: NDArray[np.int64], size: int, generator: np.random.Generator) -> Floats:
    """Coverage 0..1 of a star-shaped lesion; all zero for normals. Its edge is soft."""
    count = len(kinds)
    depth, across = grid(size)
    place = generator.uniform([0.34, 0.28], [0.66, 0.72], (count, 2)).astype(np.float32)
    area = generator.uniform(0.11, 0.23, (count, 1, 1)).astype(np.float32)  # geometric mean radius
    wider = np.sqrt(pick(generator, kinds, (1.05, 1.9), (0.6, 1.1)))
    tilt = generator.normal(0.0, 0.2, (count, 1, 1)).astype(np.float32)
    down, side = depth - place[:, 0, None, None], across - place[:, 1, None, None]
    along, over = side * np.cos(tilt) + down * np.sin(tilt), down * np.cos(tilt) - side * np.sin(tilt)
    along, over = along / (area * wider), over / (area / wider)
    distance = np.sqrt(along**2 + over**2)
    border = outline(kinds, np.arctan2(over, along), generator)
    edge = np.maximum(pick(generator, kinds, (0.01, 0.03), (0.015, 0.05)), 0.7 / size)
    covered = np.clip((border - distance) * area / edge + 0.5, 0.0, 1.0)
    return covered * (kinds != 2).astype(np.float32)[:, None, None]


def outline(kinds: NDArray[np.int64], angle: Floats, generator: np.random.Generator) -> Floats:
    """Relative radius at each pixel's angle: gentle lobes for all, spicules for the malignant."""
    count = len(kinds)
    turns = np.linspace(-np.pi, np.pi, FINEST, dtype=np.float32)[None, :]
    orders = np.arange(2, 6, dtype=np.float32)[None, :, None]
    phase = generator.uniform(0.0, 2.0 * np.pi, (count, 4, 1)).astype(np.float32)
    height = generator.normal(0.0, 0.05, (count, 4, 1)).astype(np.float32) / (orders / 2.0)
    radius = 1.0 + (height * np.cos(orders * turns[:, None, :] + phase)).sum(1)
    spikes = generator.integers(6, 12, (count, 1)).astype(np.float32)
    wobble = generator.uniform(0.0, 2.0 * np.pi, (count, 2)).astype(np.float32)
    rays = np.abs(np.cos(turns * spikes / 2.0 + wobble[:, :1] + 0.5 * np.sin(turns + wobble[:, 1:]))) ** 3
    radius += pick(generator, kinds, (0.0, 0.08), (0.05, 0.55))[:, :, 0] * (rays - 0.4)
    nearest = ((angle + np.pi) * np.float32((FINEST - 1) / (2.0 * np.pi)) + 0.5).astype(np.intp)
    return np.take_along_axis(radius, nearest.reshape(count, -1), 1).reshape(angle.shape)


def scan(scene: Scene, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Beam attenuation, scatterers, point-spread function, envelope, log compression."""
    size = scene.echo.shape[1]
    level = scene.echo - np.cumsum(scene.attenuation, axis=1, dtype=np.float32) / np.float32(size)
    amplitude = np.power(np.float32(10.0), level / np.float32(20.0))
    wide, narrow = max(size / 64.0, 1.0) * 0.75, max(size / 64.0, 1.0) * 0.45
    waves_ = generator.standard_normal((2, *level.shape), np.float32) * amplitude
    waves_ = blurred(waves_, (0, 0, narrow, wide), "nearest", 3.0)
    envelope = np.hypot(waves_[0], waves_[1]) * np.float32(2.0 * np.sqrt(np.pi * wide * narrow))
    gain = generator.normal(6.0, 2.0, (len(level), 1, 1)).astype(np.float32)
    decibel = np.float32(20.0) * np.log10(envelope + np.float32(1e-6)) + gain
    grey = (decibel + np.float32(0.5 * DYNAMIC_RANGE)) * np.float32(255.0 / DYNAMIC_RANGE)
    return np.clip(grey, 0.0, 255.0).astype(np.uint8)
