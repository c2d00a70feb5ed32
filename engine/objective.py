"""The score by which configurations are compared, computed from validation figures in one place."""

import math
from collections.abc import Mapping, Sequence

Objective = str | Mapping[str, float] | Sequence[str] | None

DEFAULT = ("dice", "f1_macro")


def objectives(objective: Objective, tasks: Sequence[str]) -> tuple[Mapping[str, float], ...]:
    """Each objective as weights of metrics. Unset: the mean of Dice and macro F1, or the one that the
    model's tasks allow."""
    if objective is None:
        use = [m for m, task in zip(DEFAULT, ("segment", "classify"), strict=True) if task in tasks]
        return ({name: 1 / len(use) for name in use},)
    if isinstance(objective, str):
        return ({objective: 1.0},)
    if isinstance(objective, Mapping):
        return (objective,)
    return tuple({name: 1.0} for name in objective)


def values(figures: Mapping[str, float], wanted: Sequence[Mapping[str, float]], refined: bool) -> list[float]:
    """One value per objective, higher is better; an undefined figure counts as 0, never as good."""
    prefix = "refined_" if refined else ""
    return [math.fsum(weight * _figure(figures, prefix + name) for name, weight in w.items()) for w in wanted]


def scalar(each: Sequence[float]) -> float:
    """What chooses the epoch: the mean over objectives."""
    return math.fsum(each) / len(each)


def _figure(figures: Mapping[str, float], name: str) -> float:
    value = figures[name]
    return value if math.isfinite(value) else 0.0
