"""What a half-trained configuration says of its final mean.

A score at level l of fold k of configuration i is taken as

    z[i,k,l] = fold[k,l] + shared[i,l] + own[i,k,l]

with `shared` ~ N(0, A) what the configuration does on every fold, `own` ~ N(0, B) what it does on this one,
A and B covariances *over levels*. So a curve is compared with finished curves of the same fold at the same
epochs, a gain seen on one fold is expected on the others, and a fold that was only begun counts for what it
is worth. A, B and the fold effects are learned from all configurations, dropped ones with what was seen of
them (what was dropped was dropped for what was seen, so the likelihood needs no correction for it), by EM
with a prior worth a few configurations. Most configurations are left after a level or two: each level is
learned from those that have reached it, as told by the levels before (`climb.py`). Everything a decision
needs is then linear in the scores.

Given `shared`, folds are independent, and what a fold adds depends only on how many levels it has reached:
all sums below are over these counts, so a round of EM is a few array operations whatever the number of folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.race.climb import by_depth, climb, known_levels
from engine.race.noise import noise_of
from engine.race.shape import Shape, lifted, shape_of

PRIOR_FOLDS = 3.0  # what "folds do not differ" counts for

Pattern = tuple[int, ...]  # levels reached on each fold, deepest first


@dataclass(frozen=True)
class Weights:
    """How a pattern's scores make the final mean: mean + Σ weights · residuals, with `variance` left."""

    weights: np.ndarray  # [K, L], zero where nothing is known
    variance: float


@dataclass(frozen=True)
class Depths:
    """What a fold says of the rest, by the number of levels it has reached: arrays over depth 0 … L."""

    precision: np.ndarray  # [L+1, L, L]: inverse of `own` over the levels reached
    gain: np.ndarray  # [L+1, L, L]: expectation of all of `own` from the residuals of the levels reached
    rest: np.ndarray  # [L+1, L, L]: covariance of `own` that remains


def depths_of(own: np.ndarray) -> Depths:
    levels = len(own)
    jitter = (1e-6 * float(np.trace(own)) / levels + 1e-12) * np.eye(levels)
    precision = np.zeros((levels + 1, levels, levels))
    for depth in range(1, levels + 1):
        precision[depth, :depth, :depth] = np.linalg.inv((own + jitter)[:depth, :depth])
    gain = own @ precision
    return Depths(precision, gain, own - gain @ own)


def weighted(counts: np.ndarray, each: np.ndarray) -> np.ndarray:
    """`counts` [P, D] times `each` [D, …], row by row: one product of all may round a row otherwise beside
    others, and a replay, which is not asked what comes next, meets its patterns in other company."""
    rows = counts[:, None, :] @ each.reshape(len(each), -1)
    return rows.reshape(len(counts), *each.shape[1:])


class Beliefs:
    """The learned model of one channel of one heat. `learn` again when much has been added."""

    def __init__(self, folds: int, levels: int) -> None:
        self.folds, self.levels = folds, levels
        self.effects = np.zeros((folds, levels))
        self.shared = np.eye(levels)
        self.own = np.eye(levels)
        self.noise = 1.0
        self.learned = False
        self._depths = depths_of(self.own)
        self._cache: dict[Pattern, Weights] = {}

    # -- learning ----------------------------------------------------------------------------------

    def learn(self, curves: np.ndarray, depth: np.ndarray, rounds: int = 4) -> None:
        """EM over `curves` [N, K, L] of which `depth` [N, K] levels are known."""
        begun = depth.any(axis=1)
        curves, depth = curves[begun].astype(float), depth[begun]
        known = known_levels(depth, self.levels)
        if not self.learned:
            self._begin(curves, known)
        curves = lifted(curves - self.effects, known) + self.effects
        shape = shape_of(np.where(known, curves - self.effects, 0), known)
        counts, member = self._counts(depth)
        for _ in range(rounds if self.learned else 4 * rounds):
            self._round(np.where(known, curves - self.effects, 0), depth, counts, member, shape)
        left = np.where(known, curves - self.effects, 0)
        self.noise = noise_of(left, known, float(np.sqrt(2 * self.own[-1, -1])))
        self.learned = True
        self._depths = depths_of(self.own)
        self._cache.clear()

    def _begin(self, curves: np.ndarray, known: np.ndarray) -> None:
        counts = known.sum((0, 1))
        sums = np.where(known, curves, 0).sum((0, 1))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        last = np.nanmax(np.where(counts > 0, np.arange(self.levels), -1)).astype(int)
        means[last + 1 :] = means[last]
        self.effects = np.broadcast_to(means, (self.folds, self.levels)).copy()
        shape = shape_of(np.where(known, curves - self.effects, 0), known)
        self.shared, self.own = shape.shared, shape.own

    def _counts(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distinct rows of "how many folds have reached each depth" [P, L+1], and whose is which [N]."""
        each = np.zeros((len(depth), self.levels + 1), dtype=np.int16)
        for fold in range(self.folds):
            each[np.arange(len(depth)), depth[:, fold]] += 1
        distinct, member = unique_rows(each)
        return distinct.astype(float), member

    def _posterior(self, counts: np.ndarray, depths: Depths) -> np.ndarray:
        """Covariance of `shared` [P, L, L] once so many folds have reached each depth."""
        told = weighted(counts, depths.precision)
        return np.asarray(np.linalg.solve(np.eye(self.levels) + self.shared @ told, self.shared))

    def _round(
        self, residual: np.ndarray, depth: np.ndarray, counts: np.ndarray, member: np.ndarray, shape: Shape
    ) -> None:
        """One round of EM; what lies beyond the last level that was reached is nobody's data."""
        depths, many = depths_of(self.own), np.bincount(member, minlength=len(counts)).astype(float)
        spread = self._posterior(counts, depths)
        told = (depths.precision[depth] @ residual[..., None])[..., 0].sum(1)
        mean = (spread[member] @ told[..., None])[..., 0]  # [N, L]
        known = known_levels(depth, self.levels)
        own = np.where(known, residual - mean[:, None], 0)  # [N, K, L]
        flat = by_depth(own.reshape(-1, self.levels), depth.ravel())
        apart = climb(flat.spread(np.tensordot(counts * many[:, None], spread, (0, 0))), shape.own)
        deepest = self.levels - (counts[:, ::-1] > 0).argmax(1)  # [P]
        uncertain = np.zeros((self.levels + 1, self.levels, self.levels))
        np.add.at(uncertain, deepest, spread * many[:, None, None])
        together = climb(by_depth(mean, depth.max(1)).spread(uncertain), shape.shared, centred=True)
        self.own, self.shared = apart.covariance, together.covariance
        self._shift(own, known, apart.slopes, together.means)

    def _shift(self, own: np.ndarray, known: np.ndarray, slopes: np.ndarray, drift: np.ndarray) -> None:
        """Move the fold effects by what is left over of `own` once earlier levels have foretold it."""
        common, count = self.effects.mean(0), known.sum(0)
        left = np.where(known, own - own @ slopes.T, 0).sum(0)  # [K, L]
        apart = self.effects - common
        new = (count * (apart - apart @ slopes.T) + left) / (count + PRIOR_FOLDS)
        self.effects = common + drift + np.linalg.solve(np.eye(self.levels) - slopes, new.T).T

    # -- telling -----------------------------------------------------------------------------------

    def weights(self, pattern: Pattern) -> Weights:
        """Weights of a pattern's scores for the final mean over all folds."""
        if pattern not in self._cache:
            self.prepare([pattern])
        return self._cache[pattern]

    def prepare(self, patterns: Sequence[Pattern]) -> None:
        """Solve for many patterns at once."""
        new = [pattern for pattern in dict.fromkeys(patterns) if pattern not in self._cache]
        if not new:
            return
        depth, here = np.array(new, dtype=int), self._depths
        counts = np.array([np.bincount(row, minlength=self.levels + 1) for row in depth], dtype=float)
        final = here.gain[:, -1]  # [L+1, L]
        # of the final mean in `shared`
        toward = np.eye(self.levels)[-1] - weighted(counts, final) / self.folds
        through = (self._posterior(counts, here) @ toward[..., None])[..., 0]
        left = (toward * through).sum(1) + weighted(counts, here.rest[:, -1, -1]) / self.folds**2
        told = (here.precision[depth] @ through[:, None, :, None])[..., 0] + final[depth] / self.folds
        for pattern, weights, variance in zip(new, told, left.tolist(), strict=True):
            self._cache[pattern] = Weights(weights, max(variance, 0.0))

    def variance(self, pattern: Pattern) -> float:
        """What remains unknown of the final mean once a pattern is known."""
        return self.weights(pattern).variance

    def final(self, curves: np.ndarray, depth: np.ndarray) -> tuple[float, float]:
        """Mean and variance of one configuration's final mean; `curves` [K, L], `depth` [K]."""
        order = np.argsort(-depth, kind="stable")
        found = self.weights(tuple(depth[order].tolist()))
        residual = (curves - self.effects)[order]
        known = known_levels(depth[order], self.levels)
        told = float((residual * found.weights)[known].sum())
        return float(self.effects[:, -1].mean()) + told, found.variance

    def finals(self, curves: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`final` for many configurations at once: [N], [N]."""
        order = np.argsort(-depth, axis=1, kind="stable")
        ranked = np.take_along_axis(depth, order, 1)
        distinct, member = unique_rows(ranked)
        patterns: list[Pattern] = [tuple(row) for row in distinct.tolist()]
        self.prepare(patterns)
        found = [self._cache[pattern] for pattern in patterns]
        residual = np.take_along_axis(curves - self.effects, order[..., None], 1)
        residual[~known_levels(ranked, self.levels)] = 0
        told = np.einsum("nkl,nkl->n", residual, np.array([one.weights for one in found])[member])
        variance = np.array([one.variance for one in found])[member]
        return self.effects[:, -1].mean() + told, variance


def unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows and which of them each is; much faster than sorting by columns."""
    packed = np.ascontiguousarray(rows, dtype=np.int16)
    whole = packed.view(np.dtype((np.void, packed.itemsize * packed.shape[1]))).ravel()
    _, first, member = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], member.ravel()
