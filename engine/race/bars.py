"""What a configuration would have to reach to be picked, by the rule that picks."""

from typing import Literal

import numpy as np

from engine.race.heat import Heat

Pick = Literal["best_mean", "one_se", "lower_bound", "pareto", "median_rank"]


def standard_error(heat: Heat, row: int) -> float:
    scores = heat.best[row, :, 0]
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def bars(heat: Heat, rows: np.ndarray, pick: Pick) -> np.ndarray:
    """The mean score above which each row could be the pick, given what is complete."""
    best = max(heat.complete, key=lambda row: float(heat.means[row, 0]))
    top = float(heat.means[best, 0])
    if pick == "one_se":
        return _within_one_error(heat, rows, top, top - standard_error(heat, best))
    if pick == "lower_bound":
        top = max(float(heat.means[row, 0]) - standard_error(heat, row) for row in heat.complete)
    return np.full(len(rows), top)


def _within_one_error(heat: Heat, rows: np.ndarray, top: float, low: float) -> np.ndarray:
    """Who is cheaper than all that are above `low` only needs to come there too; who costs as little as the
    cheapest of them must be better than those. Where a cost is not known yet it may be the least."""
    within = [row for row in heat.complete if heat.means[row, 0] >= low]
    least = heat.cost[within].min()
    rivals = [float(heat.means[row, 0]) for row in within if heat.cost[row] <= least]
    cost = heat.cost[rows]
    return np.select([cost > least, cost == least], [top, max(rivals, default=low)], low)


def beaten(heat: Heat, rows: np.ndarray, reach: np.ndarray, pick: Pick) -> np.ndarray:
    """Which rows are out of reach: `reach` [rows, channels] is what each might come to.

    With several objectives a row is beaten by a complete configuration that is above its reach in the
    score and in every single objective: being best nowhere is no reason to leave a Pareto front.
    """
    if reach.shape[1] == 1:
        return np.asarray(reach[:, 0] < bars(heat, rows, pick))
    rivals = heat.means[heat.complete]  # [complete, channels]
    below = np.all(reach[:, None, :] < rivals[None], axis=2)  # [rows, complete]
    return np.asarray(np.any(below, axis=1))
