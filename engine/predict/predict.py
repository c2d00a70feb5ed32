"""Says what a run's picked networks see in new images, and writes it down: masks, overlays, a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from engine.data.decode import Broken, check_place, read_image
from engine.data.files import writing
from engine.data.pack import pad, resize_image
from engine.data.preprocess import prepare
from engine.errors import many
from engine.explain import grad_cam
from engine.predict.ensemble import Picked
from engine.predict.finding import Finding, finding, judge, table
from engine.predict.overlay import overlay
from engine.predict.written import FOLDERS, TABLE, names_of, picture, spare
from engine.spec.data import Data

NOBODY = np.zeros(0, np.int64)  # no training cases: nothing here is normalised by them


@dataclass(frozen=True)
class Seen:
    """One image with what was found in it, at its own size."""

    grey: np.ndarray  # uint8 [h, w]
    finding: Finding
    mask: np.ndarray | None  # uint8 [h, w], 0 or 1, refined where the spec says so
    heat: np.ndarray | None  # float32 [h, w] in 0..1


def predict(picked: Picked, paths: Sequence[Path], out: Path) -> list[Finding]:
    """Every image is looked at before the first is predicted: a broken one among many costs nothing."""
    _check(paths, picked.data)
    names = list(names_of(paths))
    with writing(out):
        spare(names, out)
        out.mkdir(parents=True, exist_ok=True)
        findings = [_write(look(picked, path), name, out) for name, path in zip(names, paths, strict=True)]
        (out / TABLE).write_bytes(table(findings, picked.data.classes))
    return findings


def look(picked: Picked, path: Path) -> Seen:
    grey = read_image(path)
    images = network_input(picked, grey)
    with torch.no_grad():
        each = picked.ensemble.each(images)
    masks = None if each.masks is None else each.masks[:, 0, 0].cpu().numpy()  # [folds, H, W]
    classes = None if each.classes is None else each.classes[:, 0].cpu().numpy()  # [folds, C]
    spec = picked.configuration.predict
    raw = None if classes is None else int(classes.mean(0).argmax())
    drawn = None if masks is None else drawn_mask(masks, grey.shape, picked.data.aspect, spec.threshold)
    judged = judge(raw, drawn, picked.data.classes, spec.refine)
    found = finding(str(path), judged, classes, masks, picked.data.classes, spec.threshold)
    return Seen(grey, found, judged.mask, _heat(picked, images, raw, grey.shape))


def network_input(picked: Picked, grey: np.ndarray) -> torch.Tensor:
    """[1, C, S, S], packed and prepared as the training images were."""
    images = prepare(packed(grey, picked.data)[None], picked.input, NOBODY)
    device = next(picked.ensemble.parameters()).device
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def packed(grey: np.ndarray, data: Data) -> np.ndarray:
    return resize_image(pad(grey) if data.aspect == "pad" else grey, data.size)


def drawn_mask(masks: np.ndarray, shape: tuple[int, ...], aspect: str, threshold: float) -> np.ndarray:
    """masks: probabilities [folds, S, S] -> 0/1 [h, w]. Enlarged before the cut, so that edges are smooth."""
    return (restore(masks.mean(0), shape, aspect) > threshold).astype(np.uint8)


def restore(square: np.ndarray, shape: tuple[int, ...], aspect: str) -> np.ndarray:
    """A packed square's values at the image's own size: the padding that made it square is cut off."""
    height, width = shape
    if aspect == "stretch":
        return cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    large = cv2.resize(square, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def _heat(picked: Picked, images: torch.Tensor, raw: int | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The folds' mean Grad-CAM for the class that the ensemble names."""
    if raw is None:
        return None
    named = torch.full((1,), raw, device=images.device)
    model = picked.configuration.trained.model
    heats = [
        grad_cam(member.network, model, member.normalised(images), named)[0].cpu().numpy()
        for member in picked.ensemble.ordered
    ]
    return restore(np.mean(heats, axis=0), shape, picked.data.aspect)


def _write(seen: Seen, name: str, out: Path) -> Finding:
    masks, overlays = (out / folder / f"{name}.png" for folder in FOLDERS)
    mask = None if seen.mask is None else picture(seen.mask * 255, masks)
    shown = overlay(seen.grey, seen.mask, seen.heat)
    return replace(seen.finding, mask=mask, overlay=picture(shown, overlays))


def _check(paths: Sequence[Path], data: Data) -> None:
    problems = []
    for path in paths:
        try:
            real = path.resolve()
            check_place(real, real.parent)
            packed(read_image(real), data)
        except Broken as error:
            problems.append(f"{path}: {error.text} [{error.rule}]")
    if problems:
        raise many("images that cannot be predicted", problems)
