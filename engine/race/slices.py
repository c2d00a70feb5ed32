"""Work cut into slices, one level of one fold each: which slice of a configuration tells most per epoch."""

import numpy as np

from engine.race.beliefs import Beliefs, Pattern


def advance(pattern: Pattern, rank: int, to: int) -> Pattern:
    """The pattern once the fold at `rank` has come to level `to`."""
    return tuple(sorted((*pattern[:rank], to, *pattern[rank + 1 :]), reverse=True))


def cost(epochs: np.ndarray, done: int, to: int) -> float:
    return float(epochs[to - 1] - (epochs[done - 1] if done else 0))


def best_step(beliefs: Beliefs, pattern: Pattern, epochs: np.ndarray) -> int:
    """Rank of the fold to go on with, by variance removed per epoch up to its next level or to its end."""
    ways = steps(pattern, len(epochs))
    beliefs.prepare([pattern, *(advance(pattern, rank, to) for rank, to in ways)])
    now = beliefs.variance(pattern)

    def rate(way: tuple[int, int]) -> float:
        removed = now - beliefs.variance(advance(pattern, *way))
        return removed / max(cost(epochs, pattern[way[0]], way[1]), 1e-9)

    return max(ways, key=rate)[0] if ways else 0


def steps(pattern: Pattern, last: int) -> list[tuple[int, int]]:
    """(rank, level) a fold could be brought to, of equal folds the first one only."""
    return [
        (rank, to)
        for rank, done in enumerate(pattern)
        if done < last and (not rank or done != pattern[rank - 1])
        for to in sorted({done + 1, last})
    ]
