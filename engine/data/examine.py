"""The rules a case must keep before anything is trained on it. Packing and the audit read the same ones."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from engine.data.cases import NORMAL, Case, Problem
from engine.data.decode import Broken, Mask, check_place, read_image, read_mask


@dataclass(frozen=True)
class Examined:
    """What the files of a case hold. `remarks` are worth a look but do not keep a case out."""

    case: Case
    image: np.ndarray | None  # uint8 [h, w]
    mask: np.ndarray | None  # uint8 [h, w], 0 or 1, of the image's size
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]


def examine(case: Case, root: Path, resize_masks: bool) -> Examined:
    notes = _Notes(case, root)
    image = _image(case, notes)
    parts = [_mask(case, path, image, resize_masks, notes) for path in case.masks]
    whole = [part for part in parts if part is not None]
    if not case.masks and case.label != NORMAL:
        notes.refuse(case.image, "no-mask", f"is {case.label} and has no mask")
    if image is None or len(whole) < len(parts) or (not parts and case.label != NORMAL):
        return Examined(case, image, None, tuple(notes.problems), tuple(notes.remarks))
    mask = np.bitwise_or.reduce(whole) if whole else np.zeros_like(image)
    _check_lesion(case, mask, notes)
    return Examined(case, image, mask, tuple(notes.problems), tuple(notes.remarks))


@dataclass
class _Notes:
    """Collects what is wrong with one case, so that all of it is told at once."""

    case: Case
    root: Path
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)

    def refuse(self, path: Path, rule: str, text: str) -> None:
        self.problems.append(Problem(self.case.name, shown(path, self.root), rule, text))

    def remark(self, path: Path, rule: str, text: str) -> None:
        self.remarks.append(Problem(self.case.name, shown(path, self.root), rule, text))


def shown(path: Path, root: Path) -> str:
    """As a user knows it: relative to the data set where it lies inside, wherever that was named from."""
    whole = path.absolute()
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(path)


def _image(case: Case, notes: _Notes) -> np.ndarray | None:
    try:
        check_place(case.image, notes.root)
        image = read_image(case.image)
    except Broken as broken:
        notes.refuse(case.image, broken.rule, broken.text)
        return None
    if image.min() == image.max():
        notes.refuse(
            case.image, "blank", f"holds the value {image.min()} in every pixel; there is no picture in it"
        )
    return image


def _mask(case: Case, path: Path, image: np.ndarray | None, resize: bool, notes: _Notes) -> np.ndarray | None:
    """Of the image's size, or nothing when this mask cannot be used."""
    try:
        check_place(path, notes.root)
        mask = read_mask(path, case.colours)
    except Broken as broken:
        notes.refuse(path, broken.rule, broken.text)
        return None
    _check_levels(case, path, mask, notes)
    if image is None or mask.pixels.shape == image.shape:
        return mask.pixels
    return _fitted(path, mask.pixels, image.shape, resize, notes)


def _fitted(
    path: Path, pixels: np.ndarray, shape: tuple[int, ...], resize: bool, notes: _Notes
) -> np.ndarray | None:
    """Scaled where that is allowed; no scaling makes a mask fit that lies on its side."""
    (height, width), (rows, columns) = shape, pixels.shape
    sizes = f"is {columns}×{rows}, its image {width}×{height}"
    if (rows, columns) == (width, height):
        notes.refuse(path, "mask-size", f"{sizes}; turn it as the image lies")
        return None
    if not resize:
        way_out = "data.other_mask_size: resize would scale the mask to the image"
        notes.refuse(path, "mask-size", f"{sizes}; {way_out}")
        return None
    notes.remark(path, "mask-size", f"was {columns}×{rows} and is scaled to its image's {width}×{height}")
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _check_levels(case: Case, path: Path, mask: Mask, notes: _Notes) -> None:
    if case.colours:
        _check_painted(case, path, mask, notes)
    elif mask.levels > 2:
        notes.remark(path, "mask-levels", f"holds {mask.levels} grey levels; the upper half counts as lesion")


def _check_painted(case: Case, path: Path, mask: Mask, notes: _Notes) -> None:
    names = " and ".join(mask.painted)
    if len(mask.painted) > 1:
        notes.refuse(
            path, "mask-classes", f"paints {names} lesions in one mask; one class per image is needed"
        )
    elif mask.painted and case.label not in (NORMAL, *mask.painted):
        notes.refuse(path, "mask-label", f"paints a {names} lesion, but the case is labelled {case.label}")


def _check_lesion(case: Case, mask: np.ndarray, notes: _Notes) -> None:
    path = case.masks[0] if case.masks else case.image
    if case.label != NORMAL and not mask.any():
        notes.refuse(path, "empty-mask", f"shows no lesion, but the case is labelled {case.label}")
    if case.label == NORMAL and mask.any():
        notes.refuse(path, "normal-lesion", f"shows a lesion of {int(mask.sum())} pixels in a normal case")
    if mask.all():
        notes.refuse(path, "full-mask", "marks every pixel as lesion")
    elif _seems_inverted(mask):
        text = "marks all four corners and more than half of the image as lesion"
        notes.remark(path, "inverted-mask", f"{text}; where lesions are its dark part, invert it")


def _seems_inverted(mask: np.ndarray) -> bool:
    """No lesion of BUSI reaches a corner of its image; the background of nearly all masks reaches all."""
    return bool(mask[:: len(mask) - 1, :: mask.shape[1] - 1].all()) and bool(mask.mean() > 0.5)
