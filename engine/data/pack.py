"""Decoding and resizing once: from found cases to squares, in parallel, with every problem collected."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.data.cases import Case, Problem
from engine.data.decode import LARGEST, Broken
from engine.data.duplicates import pixel_hash
from engine.data.examine import examine, shown
from engine.data.parallel import Progress, in_order
from engine.data.similarity import thumbnail
from engine.spec.data import Data


@dataclass(frozen=True)
class Square:
    """One case as it is packed, or what kept it out."""

    case: Case
    image: np.ndarray | None  # uint8 [S, S]
    mask: np.ndarray | None  # uint8 [S, S]
    extent: tuple[int, int]  # original pixels covered, (height, width)
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]
    digest: str = ""  # of the original pixels
    thumbnail: np.ndarray | None = None  # uint8 [64, 64]


def squares(
    cases: tuple[Case, ...], root: Path, data: Data, progress: Progress | None = None
) -> Iterator[Square]:
    """In the order of `cases`."""
    return in_order(lambda case: _square(case, root, data), cases, "packing images", progress)


def _square(case: Case, root: Path, data: Data) -> Square:
    found = examine(case, root, data.other_mask_size == "resize")
    if found.problems or found.image is None or found.mask is None:
        return Square(case, None, None, (0, 0), found.problems, found.remarks)
    image, mask = found.image, found.mask
    if data.aspect == "pad":
        try:
            image, mask = pad(image), pad(mask)
        except Broken as broken:
            problem = Problem(case.name, shown(case.image, root), broken.rule, broken.text)
            return Square(case, None, None, (0, 0), (problem,), found.remarks)
    small = resize_mask(mask, data.size)
    remarks = found.remarks
    if mask.any() and not small.any():
        text = f"shows a lesion that vanishes at {data.size}×{data.size}; a larger data.size keeps it"
        remarks = (*remarks, Problem(case.name, case.masks[0].name, "vanished", text))
    return Square(
        case=case,
        image=resize_image(image, data.size),
        mask=small,
        extent=(mask.shape[0], mask.shape[1]),
        problems=(),
        remarks=remarks,
        digest=pixel_hash(found.image),
        thumbnail=thumbnail(found.image),
    )


def pad(pixels: np.ndarray) -> np.ndarray:
    """Black on both sides of the shorter axis, so that the picture stays in the middle of a square."""
    height, width = pixels.shape
    side = max(height, width)
    if side**2 > LARGEST:
        raise Broken(
            "too-large",
            f"is {width}×{height}; data.aspect: pad would make a square of more than {LARGEST:,} pixels of "
            "it; crop it, or set data.aspect: stretch",
        )
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(pixels, ((top, side - height - top), (left, side - width - left)))


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """By area along what shrinks, then linearly along what grows: enlarging by area would repeat pixels."""
    height, width = image.shape
    shrunk = cv2.resize(image, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """The nearest pixel's centre, which does not shift a mask against its image."""
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
