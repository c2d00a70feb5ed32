"""What a half-trained configuration says of its final mean.

A score at level l of fold k of configuration i is taken as

    z[i,k,l] = fold[k,l] + shared[i,l] + own[i,k,l]

with `shared` ~ N(0, A) what the configuration does on every fold, `own` ~ N(0, B) what it does on this one,
A and B covariances *over levels*. So a curve is compared with finished curves of the same fold at the same
epochs, a gain seen on one fold is expected on the others, and a fold that was only begun counts for what it
is worth. A, B and the fold effects are learned from all configurations, dropped ones with what was seen of
them (what was dropped was dropped for what was seen, so the likelihood needs no correction for it), by EM
with a prior worth a few configurations. Everything a decision needs is then linear in the scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PRIOR_CONFIGS = 2.0  # what the prior of A and B counts for
PRIOR_FOLDS = 3.0  # what "folds do not differ" counts for
SHARED = 0.7  # prior share of a score's variance that is the configuration's
DECAY = 0.85  # prior correlation of neighbouring levels
SAMPLE = 400  # configurations that are enough to learn from

Pattern = tuple[int, ...]  # levels reached on each fold, deepest first


@dataclass(frozen=True)
class Weights:
    """How a pattern's scores make the final mean: mean + weights · residuals, with `variance` left."""

    weights: np.ndarray
    variance: float


class Beliefs:
    """The learned model of one channel of one heat. `learn` again when much has been added."""

    def __init__(self, folds: int, levels: int) -> None:
        self.folds, self.levels = folds, levels
        self.effects = np.zeros((folds, levels))
        self.shared = np.eye(levels)
        self.own = np.eye(levels)
        self.noise = 1.0
        self.learned = False
        self._cache: dict[Pattern, Weights] = {}

    def learn(self, curves: np.ndarray, depth: np.ndarray, rounds: int = 4) -> None:
        """EM over `curves` [N, K, L] of which `depth` [N, K] levels are known."""
        curves, depth = curves[-SAMPLE:].astype(float), depth[-SAMPLE:]
        known = np.arange(self.levels) < depth[:, :, None]
        if not self.learned:
            self._begin(curves, known)
        center_shared, center_own = self._center(curves, known)
        for _ in range(rounds if self.learned else 4 * rounds):
            self._round(curves, depth, center_shared, center_own)
        self.noise = float(np.sqrt(2 * self.own[-1, -1]))
        self.learned = True
        self._cache.clear()

    def _begin(self, curves: np.ndarray, known: np.ndarray) -> None:
        counts = known.sum((0, 1))
        sums = np.where(known, curves, 0).sum((0, 1))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        last = np.nanmax(np.where(counts > 0, np.arange(self.levels), -1)).astype(int)
        means[last + 1 :] = means[last]
        self.effects = np.broadcast_to(means, (self.folds, self.levels)).copy()
        self.shared, self.own = self._center(curves, known)

    def _center(self, curves: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The prior's covariances: their shape is assumed, their scale is that of the data."""
        residual = np.where(known, curves - self.effects, 0)
        counts = known.sum((0, 1))
        pooled = (residual**2).sum() / max(counts.sum(), 1)
        variance = ((residual**2).sum((0, 1)) + 10 * pooled) / (counts + 10)
        variance = np.maximum.accumulate(variance)  # what got far was chosen: its spread is too narrow
        lag = np.abs(np.subtract.outer(np.arange(self.levels), np.arange(self.levels)))
        shape = np.sqrt(np.outer(variance, variance)) * DECAY**lag + 1e-9 * np.eye(self.levels)
        return SHARED * shape, (1 - SHARED) * shape

    def _round(
        self, curves: np.ndarray, depth: np.ndarray, center_shared: np.ndarray, center_own: np.ndarray
    ) -> None:
        shared, own = PRIOR_CONFIGS * center_shared, PRIOR_CONFIGS * center_own
        shared_count = own_count = PRIOR_CONFIGS
        left, count = np.zeros_like(self.effects), np.zeros(self.folds)
        drift, configs = np.zeros(self.levels), 0
        for rows, order, pattern in self._patterns(depth):
            live = sum(reached > 0 for reached in pattern)
            places = order[:, :live]
            residual = (curves - self.effects)[rows[:, None], places]  # [n, live, L]
            step = self._expect(residual, pattern[:live])
            shared += step[0]
            own += step[1]
            shared_count += len(rows)
            own_count += len(rows) * live
            np.add.at(left, places.ravel(), step[2].reshape(-1, self.levels))
            np.add.at(count, places.ravel(), 1)
            drift += step[3]
            configs += len(rows)
        self.shared, self.own = shared / shared_count, own / own_count
        self._shift(left, count, drift / max(configs, 1))

    def _shift(self, left: np.ndarray, count: np.ndarray, drift: np.ndarray) -> None:
        """Move the fold effects by what is left over, folds shrunk to their common mean."""
        common = self.effects.mean(0) + left.sum(0) / max(count.sum(), 1)
        apart = self.effects * count[:, None] + left + PRIOR_FOLDS * common
        self.effects = apart / (count + PRIOR_FOLDS)[:, None] + drift

    def _expect(
        self, residual: np.ndarray, pattern: Pattern
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Given one pattern's scores: second moments of `shared` and `own`, then their first ones."""
        level, fold = indices(pattern)
        seen = residual[:, fold, level]  # [n, |O|]
        inverse = np.linalg.inv(self._covariance(level, fold))
        gain = self.shared[:, level] @ inverse
        scatter = seen.T @ seen
        n = len(seen)
        shared = gain @ scatter @ gain.T + n * (self.shared - gain @ self.shared[level])
        drift = gain @ seen.sum(0)
        own, left = np.zeros_like(self.own), np.empty((n, len(pattern), self.levels))
        for k in range(len(pattern)):
            mine = np.where(fold == k, self.own[:, level], 0)
            gain_k = mine @ inverse
            own += gain_k @ scatter @ gain_k.T + n * (self.own - gain_k @ mine.T)
            left[:, k] = seen @ gain_k.T
        return shared, own, left, drift

    def _covariance(self, level: np.ndarray, fold: np.ndarray) -> np.ndarray:
        grid = np.ix_(level, level)
        same = fold[:, None] == fold[None, :]
        jitter = 1e-6 * float(np.trace(self.own)) / self.levels + 1e-12
        return self.shared[grid] + same * self.own[grid] + jitter * np.eye(len(level))

    @staticmethod
    def _patterns(depth: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Pattern]]:
        """Rows with the same levels reached, folds put deepest first."""
        order = np.argsort(-depth, axis=1, kind="stable")
        ranked = np.take_along_axis(depth, order, 1)
        patterns, member = np.unique(ranked, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if pattern[0] > 0:
                rows = np.flatnonzero(member.ravel() == number)
                yield rows, order[rows], tuple(int(reached) for reached in pattern)

    def weights(self, pattern: Pattern) -> Weights:
        """Weights of a pattern's scores for the final mean over all folds."""
        if pattern not in self._cache:
            self._cache[pattern] = self._solve(pattern)
        return self._cache[pattern]

    def _solve(self, pattern: Pattern) -> Weights:
        prior = float(self.shared[-1, -1] + self.own[-1, -1] / self.folds)
        level, fold = indices(pattern)
        if not len(level):
            return Weights(np.zeros(0), prior)
        toward = self.shared[-1, level] + self.own[-1, level] / self.folds
        weights = np.linalg.solve(self._covariance(level, fold), toward)
        return Weights(weights, max(prior - float(toward @ weights), 0.0))

    def variance(self, pattern: Pattern) -> float:
        """What remains unknown of the final mean once a pattern is known."""
        return self.weights(pattern).variance

    def final(self, curves: np.ndarray, depth: np.ndarray) -> tuple[float, float]:
        """Mean and variance of one configuration's final mean; `curves` [K, L], `depth` [K]."""
        order = np.argsort(-depth, kind="stable")
        pattern = tuple(depth[order].tolist())
        found = self.weights(pattern)
        level, fold = indices(pattern)
        place = order[fold]
        residual = curves[place, level] - self.effects[place, level]
        return float(self.effects[:, -1].mean() + residual @ found.weights), found.variance

    def finals(self, curves: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`final` for many configurations at once: [N], [N]."""
        center = self.effects[:, -1].mean()
        mean, variance = np.full(len(depth), center), np.full(len(depth), self.weights(()).variance)
        for rows, order, pattern in self._patterns(depth):
            found = self.weights(pattern)
            level, fold = indices(pattern)
            places = order[:, fold]
            residual = curves[rows[:, None], places, level] - self.effects[places, level]
            mean[rows], variance[rows] = center + residual @ found.weights, found.variance
        return mean, variance


def indices(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """Level and (ranked) fold of every known score of a pattern."""
    level = [j for reached in pattern for j in range(reached)]
    fold = [k for k, reached in enumerate(pattern) for _ in range(reached)]
    return np.array(level, dtype=int), np.array(fold, dtype=int)
