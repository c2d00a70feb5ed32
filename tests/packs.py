"""Made-up data sets of which only labels, patients and duplicates matter."""

import numpy as np

from engine.data.cases import Pack

CLASSES = ("benign", "malignant", "normal")
Names = tuple[str | None, ...]


def pack_of(
    labels: list[int],
    patients: Names | None = None,
    groups: Names | None = None,
    official: tuple[int | None, ...] | None = None,
    classes: tuple[str, ...] = CLASSES,
) -> Pack:
    count = len(labels)
    areas = np.random.default_rng(count).integers(1, 60, count)
    none = (None,) * count
    return Pack(
        images=np.zeros((count, 8, 8), np.uint8),
        masks=(np.arange(64)[None] < areas[:, None]).astype(np.uint8).reshape(count, 8, 8),
        labels=np.array(labels, np.int64),
        cases=tuple(f"case {number:03d}" for number in range(count)),
        classes=classes,
        patients=patients or none,
        groups=groups or none,
        sizes=np.full((count, 2), 8, np.int32),
        spacing=np.full(count, np.nan),
        official=official or none,
        fingerprint="test",
    )


def labels_of(*counts: int) -> list[int]:
    return [label for label, count in enumerate(counts) for _ in range(count)]


NINE = labels_of(9, 9, 9)
