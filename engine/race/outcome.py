"""What has become of a configuration, as the sampler is told of it and the keeper of checkpoints asks."""

from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from engine.race.heat import State
from engine.race.race import Race


@dataclass(frozen=True)
class Outcome:
    """`values` of each objective, higher is better; None when nothing is known of them."""

    state: Literal["complete", "dropped", "failed"]
    values: tuple[float, ...] | None


def outcome(race: Race, config: str) -> Outcome | None:
    """None while anything of the configuration may still be trained."""
    row = race.field.rows[config]
    heats = list(race.field.heats.values())
    if any((heat.state[row] == State.FAILED).any() for heat in heats):
        idle = not any((heat.state[row] == State.RUNNING).any() for heat in heats)
        return Outcome("failed", None) if idle else None
    if all(heat.done[row] for heat in heats):
        return Outcome("complete", _mean([_values(heat.means[row]) for heat in heats]))
    if all((heat.out[row] and not heat.audited[row]) or heat.done[row] for heat in heats):
        return Outcome("dropped", race.posterior(config))
    return None


def mean(race: Race, config: str) -> float | None:
    """Of a complete configuration, over all folds and objectives."""
    found = outcome(race, config)
    return fmean(found.values) if found is not None and found.state == "complete" and found.values else None


def complete_scores(race: Race, config: str) -> list[float]:
    """Of the folds that are complete, in all heats."""
    row = race.field.rows[config]
    heats = race.field.heats.values()
    return [float(score) for h in heats for score in h.best[row, h.state[row] == State.COMPLETE, 0]]


def is_useless(race: Race, config: str) -> bool:
    """Out, or failed with no fold left to train: nobody will go on with it, or pick it."""
    found = outcome(race, config) if config in race.field.rows else None
    return found is not None and found.state != "complete" and _nothing_left(race, config)


def _nothing_left(race: Race, config: str) -> bool:
    """Whether no fold of it waits or runs any more: after a failed one, others may still be trained."""
    row = race.field.rows[config]
    heats = race.field.heats.values()
    return not any(heat.wanted(row) and (heat.state[row] < State.STOPPED).any() for heat in heats)


def _values(channels: np.ndarray) -> np.ndarray:
    """Channel 0 is the score, the only objective where there is one."""
    return channels if len(channels) == 1 else channels[1:]


def _mean(each: list[np.ndarray]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.mean(each, axis=0))
