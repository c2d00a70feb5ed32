"""Masks, made up or drawn, and their case rows: for the tests of metrics."""

import numpy as np
import pyarrow as pa

from engine.metrics.case import score_masks
from engine.metrics.table import case_table

CLASSES = ("benign", "malignant", "normal")


def ellipses(count: int, size: int, seed: int, empty: float = 0.1) -> np.ndarray:
    """Masks [count, size, size] of one ellipse each; a share of them empty."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size] / size
    cy, cx = rng.uniform(0.3, 0.7, (2, count, 1, 1))
    ry, rx = rng.uniform(0.08, 0.3, (2, count, 1, 1))
    masks = ((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1
    return (masks & (rng.random((count, 1, 1)) >= empty)).astype(np.uint8)


def unscaled(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    sizes = np.tile(truth.shape[1:], (len(truth), 1))
    return score_masks(truth, predicted, sizes, np.full(len(truth), np.nan))


def stack(*rows: str) -> np.ndarray:
    """One mask [1, H, W] drawn with # and dots."""
    return np.array([[[c == "#" for c in row] for row in rows]], dtype=np.uint8)


def rows(count: int, seed: int = 0, size: int = 16, **changes: object) -> pa.Table:
    rng = np.random.default_rng(seed)
    given: dict[str, object] = {
        "cases": [f"c{i}" for i in range(count)],
        "clusters": [None] * count,
        "labels": rng.integers(0, 3, count),
        "classes": CLASSES,
        "truth": ellipses(count, size, seed, 0.3),
        "predicted": ellipses(count, size, seed + 1, 0.3),
        "probabilities": rng.dirichlet([1, 1, 1], count),
        "sizes": np.full((count, 2), size),
        "spacing": np.full(count, np.nan),
    }
    return case_table(**(given | changes))  # type: ignore[arg-type]
