"""The score by which configurations are compared, computed from validation figures in one place.

Higher is always better here: figures of which less is better are negated.
"""

import math
from collections.abc import Mapping, Sequence

from engine.errors import SonotuneError
from engine.spec.search import Search, direction

WORST = 1000.0  # stands for an undefined distance: longer than any image

Weights = Mapping[str, float]


def objectives(search: Search) -> tuple[Weights, ...]:
    """Each objective as weights of metrics, oriented so that higher is better."""
    if isinstance(search.objective, dict):
        return (dict(search.objective),)
    return tuple({name: 1.0 if direction(name) == "maximize" else -1.0} for name in search.objectives)


def values(figures: Mapping[str, float], wanted: Sequence[Weights], refined: bool) -> list[float]:
    prefix = "refined_" if refined else ""
    return [_value({prefix + name: weight for name, weight in one.items()}, figures) for one in wanted]


def scalar(each: Sequence[float]) -> float:
    """What chooses the epoch: the mean over objectives."""
    return math.fsum(each) / len(each)


def _value(weights: Weights, figures: Mapping[str, float]) -> float:
    """A weighted sum. Metrics that the model cannot have (it lacks the task) leave their weight to the
    others, so that single-task models can be searched under the same objective."""
    known = {name: weight for name, weight in weights.items() if name in figures}
    if not known:
        raise SonotuneError(
            f"search.objective: asks for {', '.join(weights)}, which this model does not have; "
            f"it has {', '.join(sorted(figures))}"
        )
    scale = math.fsum(map(abs, weights.values())) / math.fsum(map(abs, known.values()))
    return scale * math.fsum(weight * _figure(figures[name], weight) for name, weight in known.items())


def _figure(figure: float, weight: float) -> float:
    if math.isfinite(figure):
        return figure
    return 0.0 if weight > 0 else WORST
