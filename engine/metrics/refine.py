"""Prediction refining: a class and a mask that contradict each other are made to agree.

Both rules read the raw prediction: class normal -> the mask is emptied; empty mask -> the class is normal.
Without a class of that name, or with one task only, there is nothing to contradict.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NORMAL = "normal"


class Refined(NamedTuple):
    """`erased`: cases [N] whose mask is emptied; `predicted`: class indices [N] after refinement."""

    erased: np.ndarray
    predicted: np.ndarray


def normal_class(classes: Sequence[str]) -> int | None:
    """Position of the class without lesions, if the data has one."""
    names = [name.lower() for name in classes]
    return names.index(NORMAL) if NORMAL in names else None


def incoherent(predicted: np.ndarray, empty: np.ndarray, normal: int) -> np.ndarray:
    """Cases [N] said to be normal with a lesion in the mask, or the reverse."""
    return (predicted == normal) != empty


def refine(predicted: np.ndarray, empty: np.ndarray, normal: int | None) -> Refined:
    """predicted: class indices [N]; empty: whether the predicted mask has no pixel [N]."""
    if normal is None:
        return Refined(np.zeros_like(empty, dtype=bool), predicted)
    return Refined((predicted == normal) & ~empty, np.where(empty, normal, predicted))
