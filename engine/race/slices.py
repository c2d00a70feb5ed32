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
    now, last = beliefs.variance(pattern), len(epochs)
    best, choice = -1.0, pattern.index(min(pattern))
    for rank, done in enumerate(pattern):
        if done == last or (rank and done == pattern[rank - 1]):
            continue
        for to in {done + 1, last}:
            removed = now - beliefs.variance(advance(pattern, rank, to))
            if removed / max(cost(epochs, done, to), 1e-9) > best:
                best, choice = removed / max(cost(epochs, done, to), 1e-9), rank
    return choice


def prospects(beliefs: Beliefs, pattern: Pattern, epochs: np.ndarray) -> list[tuple[float, float]]:
    """(epochs, standard deviation revealed) of the best next slice, then of finishing fold after fold."""
    now, last, found = beliefs.variance(pattern), len(epochs), []
    rank = best_step(beliefs, pattern, epochs)
    if pattern[rank] < last:
        after = advance(pattern, rank, pattern[rank] + 1)
        found.append((cost(epochs, pattern[rank], pattern[rank] + 1), now - beliefs.variance(after)))
    spent, current = 0.0, pattern
    while min(current) < last:
        rank = next(place for place, done in enumerate(current) if done < last)
        spent += cost(epochs, current[rank], last)
        current = advance(current, rank, last)
        found.append((spent, now - beliefs.variance(current)))
    return [(epochs_, float(np.sqrt(max(removed, 1e-18)))) for epochs_, removed in found]
