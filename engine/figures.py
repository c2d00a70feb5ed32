"""Whether the figures that a study asks for are ones that its models have."""

from collections.abc import Iterator, Sequence
from functools import cache

from engine.metrics.fold import figure_names
from engine.models import registry
from engine.objective import objectives
from engine.spec.problems import unknown
from engine.spec.search import Search, direction
from engine.spec.study import Configuration, Fixed


def unknown_metrics(fixed: Fixed, classes: tuple[str, ...]) -> Iterator[str]:
    """Names that no model on these classes ever has a figure of."""
    each_epoch = names_of(classes, surface=False)
    in_the_end = names_of(classes, surface=True)
    for name in dict.fromkeys(name for weights in objectives(fixed.search) for name in weights):
        if name in each_epoch:
            continue
        if name in in_the_end:
            yield f"search.objective: {name} is measured when a fold ends, not at each epoch; choose another"
        else:
            yield "search.objective: " + unknown(name, raw(each_epoch))
    yield from _weighed_the_wrong_way(fixed.search)
    for name in fixed.select.metrics:
        if name not in in_the_end:
            yield "select.metrics: " + unknown(name, raw(in_the_end))


def _weighed_the_wrong_way(search: Search) -> Iterator[str]:
    """A sum is maximized as it is written, so a wrong sign would pick the worst."""
    weights = search.objective if isinstance(search.objective, dict) else {}
    for name, weight in weights.items():
        less = direction(name) == "minimize"
        if less == (weight > 0):
            more, sign = ("less", "below") if less else ("more", "above")
            yield f"search.objective: {name} has weight {weight:g}, but {more} is better; give one {sign} 0"


def unscored(search: Search, configuration: Configuration, classes: tuple[str, ...]) -> Iterator[str]:
    """A model of one task goes by its own metrics alone, but each objective needs one of them."""
    traits = registry.traits(configuration.trained.model)
    two = configuration.first_stage is not None
    there = names_of(classes, False, traits.segments or two, traits.classifies)
    prefix = "refined_" if configuration.predict.refine else ""
    masks = names_of(classes, False, True, False) if two and not prefix else ()
    for weights in objectives(search):
        if all(name in masks for name in weights):
            yield (
                f"search.objective: {', '.join(weights)} is of the masks, which the second stage takes as "
                "they are: no epoch of it would be better than another; weigh one of classes, as f1_macro"
            )
        if not any(prefix + name in there for name in weights):
            yield (
                f"search.objective: asks for {', '.join(prefix + name for name in weights)}, "
                f"which model {traits.name!r} does not have"
            )


@cache
def names_of(
    classes: tuple[str, ...], surface: bool, segments: bool = True, classifies: bool = True
) -> tuple[str, ...]:
    return figure_names(classes, segments, classifies, surface)


def raw(names: Sequence[str]) -> list[str]:
    """Each has a refined twin, which a message need not list."""
    return [name for name in names if not name.startswith("refined_")]
