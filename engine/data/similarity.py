"""How alike two thumbnails are: structural similarity, as they lie or registered.

The same frame is often saved twice with another crop, with callipers drawn in, or with another gain.
Equalised histograms take the gain away, an affine registration takes the crop away; two frames of one
examination then still differ in their speckle.
"""

from typing import NamedTuple

import cv2
import numpy as np

SIDE = 64  # of a thumbnail
WINDOW, SIGMA = (11, 11), 1.5  # of the structural similarity, as its authors have it
STABLE_MEAN, STABLE_SPREAD = (0.01 * 255) ** 2, (0.03 * 255) ** 2
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
SMOOTHING = 5  # pixels, before registration
CORRELATION = 0.9  # after registration; pairs with a similarity above 0.6 have 0.95 and more
OVERLAP = 0.6  # share of a thumbnail that the other must cover
STRETCH = (0.6, 1.67)  # change of size that a crop can explain


class Match(NamedTuple):
    score: float  # structural similarity, -1 where the two cannot be laid onto each other
    warp: np.ndarray  # float32 [2, 3], from the first thumbnail's pixels to the second's


NO_MATCH = Match(-1.0, np.eye(2, 3, dtype=np.float32))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 [SIDE, SIDE], equalised: a change of gain or brightness does not show."""
    return cv2.resize(cv2.equalizeHist(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def as_they_lie(first: np.ndarray, second: np.ndarray) -> Match:
    inside = np.ones(first.shape, np.uint8)
    return Match(similarity(first.astype(np.float32), second.astype(np.float32), inside), NO_MATCH.warp)


def laid_over(first: np.ndarray, second: np.ndarray) -> Match:
    """Registered where that works; pairs that hardly correlate even then are given up at once."""
    start = np.eye(2, 3, dtype=np.float32)
    try:
        correlation, warp = cv2.findTransformECC(
            first, second, start, cv2.MOTION_AFFINE, STOP, None, SMOOTHING
        )  # type: ignore[call-overload]
    except cv2.error:  # no overlap, or nothing to hold on to
        return as_they_lie(first, second)
    if correlation < CORRELATION:
        return NO_MATCH
    warp = np.asarray(warp)
    inside = moved(np.ones(second.shape, np.uint8), warp)
    if not _is_a_crop(warp) or inside.mean() < OVERLAP:
        return as_they_lie(first, second)
    onto = moved(second, warp, cv2.INTER_LINEAR)
    return Match(similarity(first.astype(np.float32), onto.astype(np.float32), inside), warp)


def moved(pixels: np.ndarray, warp: np.ndarray, how: int = cv2.INTER_NEAREST) -> np.ndarray:
    """The second picture seen in the first one's frame; nothing outside."""
    height, width = pixels.shape
    return cv2.warpAffine(pixels, warp, (width, height), flags=how | cv2.WARP_INVERSE_MAP)


def _is_a_crop(warp: np.ndarray) -> bool:
    """Stretched a little along both axes, hardly sheared or turned."""
    low, high = STRETCH
    across, down = warp[0, 0], warp[1, 1]
    return bool(low < across < high and low < down < high and max(abs(warp[0, 1]), abs(warp[1, 0])) < 0.2)


def similarity(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> float:
    """Mean structural similarity of two float32 pictures over the windows that lie wholly inside."""
    mean_1, mean_2 = _smooth(first), _smooth(second)
    spread = _smooth(first * first) - mean_1**2 + _smooth(second * second) - mean_2**2
    shared = _smooth(first * second) - mean_1 * mean_2
    alike = (2 * mean_1 * mean_2 + STABLE_MEAN) * (2 * shared + STABLE_SPREAD)
    alike /= (mean_1**2 + mean_2**2 + STABLE_MEAN) * (spread + STABLE_SPREAD)
    whole = cv2.erode(inside, np.ones(WINDOW, np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    return float(alike[whole].mean()) if whole.any() else -1.0


def _smooth(pixels: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(pixels, WINDOW, SIGMA)
