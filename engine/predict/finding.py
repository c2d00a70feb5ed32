"""What an ensemble says of one image, and how far its folds agree."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.metrics.refine import incoherent, normal_class, refine


@dataclass(frozen=True)
class Finding:
    """One image. What a model of one task does not say is None."""

    image: str
    label: str | None = None
    raw_label: str | None = None  # before refinement
    probabilities: dict[str, float] | None = None
    lesion_pixels: int | None = None  # of the mask as it is written, at the image's own size
    lesion_share: float | None = None
    incoherent: bool | None = None  # class normal with a lesion, or the reverse, before refinement
    class_disagreement: float | None = None  # deviation over the folds of the raw class's probability
    mask_disagreement: float | None = None  # 1 - mean Dice of the folds' masks with the ensemble's
    mask: str | None = None
    overlay: str | None = None

    def record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """Class and mask of one image before and after refinement, where they contradict each other."""

    raw: int | None
    final: int | None
    mask: np.ndarray | None
    incoherent: bool | None


def judge(raw: int | None, mask: np.ndarray | None, classes: Sequence[str], refines: bool) -> Judged:
    """mask: 0/1 [h, w]. With one task, or without a normal class, nothing can be incoherent."""
    normal = normal_class(classes)
    if raw is None or mask is None or normal is None:
        return Judged(raw, raw, mask, None)
    said, empty = np.array([raw]), np.array([not mask.any()])
    odd = bool(incoherent(said, empty, normal)[0])
    if not refines:
        return Judged(raw, raw, mask, odd)
    refined = refine(said, empty, normal)
    kept = np.zeros_like(mask) if refined.erased[0] else mask
    return Judged(raw, int(refined.predicted[0]), kept, odd)


def finding(
    image: str,
    judged: Judged,
    probabilities: np.ndarray | None,
    masks: np.ndarray | None,
    classes: Sequence[str],
    threshold: float,
) -> Finding:
    """probabilities: [folds, C], masks: probabilities [folds, H, W]"""
    shares = None if probabilities is None else probabilities.mean(0).tolist()
    mask = judged.mask
    return Finding(
        image=image,
        label=_name(judged.final, classes),
        raw_label=_name(judged.raw, classes),
        probabilities=None if shares is None else dict(zip(classes, shares, strict=True)),
        lesion_pixels=None if mask is None else int(mask.sum()),
        lesion_share=None if mask is None else float(mask.mean()),
        incoherent=judged.incoherent,
        class_disagreement=None if probabilities is None else float(probabilities[:, judged.raw].std()),
        mask_disagreement=None if masks is None else disagreement(masks, threshold),
    )


def disagreement(masks: np.ndarray, threshold: float) -> float:
    """masks: probabilities [folds, H, W]; two empty masks agree."""
    together = masks.mean(0) > threshold
    alone = masks > threshold
    both = 2.0 * (alone & together).sum((1, 2))
    sizes = alone.sum((1, 2)) + together.sum()
    return float(1.0 - np.where(sizes > 0, both / np.maximum(sizes, 1), 1.0).mean())


def table(findings: Sequence[Finding], classes: Sequence[str]) -> bytes:
    """CSV: a row per image, a column per class's probability."""
    flat = [_flat(one.record(), classes) for one in findings]
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return sink.getvalue().encode("utf-8", "backslashreplace")  # a file's name may be no text


def _flat(record: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    given = record.pop("probabilities") or {}
    return record | {f"probability_{name}": given.get(name) for name in classes}


def _name(number: int | None, classes: Sequence[str]) -> str | None:
    return None if number is None else classes[number]
