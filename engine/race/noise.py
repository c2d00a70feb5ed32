"""How far apart the folds of one configuration lie: the unit of prices and tolerances.

What is believed of `own` at the last level is learned late. Until then it follows from how far all
configurations lie apart, and where these differ much and folds do not, that is several times too much: a
price in such a unit would end a study long before it should. So folds are compared where two of one
configuration have come equally far, whatever that level is.
"""

import numpy as np

BELIEVED = 4.0  # what is believed counts for so many comparisons
FURTHEST = 30.0  # from what is believed, by a factor: folds that tie are no proof that there is no noise


def noise_of(residual: np.ndarray, known: np.ndarray, believed: float) -> float:
    """Deviation of a paired difference, from residuals [N, K, L] that are zero where not `known`."""
    squares, degrees = apart(residual, known)
    seen = np.sqrt(2 * squares / max(degrees, 1)) / believed
    share = degrees / (degrees + BELIEVED)
    return float(believed * np.clip(seen, 1 / FURTHEST, FURTHEST) ** share)


def apart(residual: np.ndarray, known: np.ndarray) -> tuple[float, int]:
    """Squares around each configuration's mean at the last level that two of its folds have reached, and
    their degrees of freedom."""
    deepest = (known.sum(1) >= 2).sum(1)
    rows = np.flatnonzero(deepest)
    scores, there = residual[rows, :, deepest[rows] - 1], known[rows, :, deepest[rows] - 1]
    many = there.sum(1, keepdims=True)
    centred = np.where(there, scores - scores.sum(1, keepdims=True) / np.maximum(many, 1), 0)
    return float((centred**2).sum()), int((many - 1).sum())
