"""Detection of whole lesions: one is hit when a predicted lesion has an IoU of at least one half with it."""

import numpy as np
from scipy.ndimage import label

HIT = 0.5
WITHIN_A_CASE = np.zeros((3, 3, 3), dtype=int)
WITHIN_A_CASE[1] = 1  # neighbours by side or corner, never across the cases of a stack


def lesion_counts(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Per case: lesions of the truth, those hit, and predicted ones that hit nothing."""
    true, lesions = label(truth, WITHIN_A_CASE)
    said, guesses = label(predicted, WITHIN_A_CASE)
    hit, useful = matches(true.ravel(), lesions, said.ravel(), guesses)
    per_case = {
        "lesions": homes(true, np.ones(lesions, bool)),
        "lesions_hit": homes(true, hit),
        "lesions_false": homes(said, ~useful),
    }
    return {name: np.bincount(cases, minlength=len(truth)) for name, cases in per_case.items()}


def matches(true: np.ndarray, lesions: int, said: np.ndarray, guesses: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbered pixels of both -> which lesions are hit and which guesses hit one."""
    both = (true > 0) & (said > 0)
    pair, shared = np.unique(true[both].astype(np.int64) * (guesses + 1) + said[both], return_counts=True)
    lesion, guess = np.divmod(pair, guesses + 1)
    union = pixels(true, lesions)[lesion] + pixels(said, guesses)[guess] - shared
    good = shared >= HIT * union
    hit, useful = np.zeros(lesions + 1, bool), np.zeros(guesses + 1, bool)
    hit[lesion[good]] = useful[guess[good]] = True
    return hit[1:], useful[1:]


def pixels(numbered: np.ndarray, count: int) -> np.ndarray:
    """Pixels of each component, by its number; the background is not counted."""
    return np.bincount(numbered[numbered > 0], minlength=count + 1)


def homes(numbered: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The case in which each chosen component [N, H, W] lies: numbers rise from case to case."""
    last = np.maximum.accumulate(numbered.max((1, 2)))
    return np.searchsorted(last, np.flatnonzero(chosen) + 1)
