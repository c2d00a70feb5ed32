"""Refuses what cannot train before Ray starts and before a GPU second is spent."""

from collections.abc import Iterator, Sequence
from functools import cache

from engine.data.cases import Pack
from engine.errors import SonotuneError, many
from engine.losses.check import check_loss
from engine.metrics.fold import figure_names
from engine.models import registry
from engine.objective import objectives
from engine.spec.problems import unknown
from engine.spec.search import Search
from engine.spec.space import VARIANTS
from engine.spec.study import Configuration, Fixed, Study


def check_study(study: Study, pack: Pack) -> None:
    """Every corner of the space must be buildable on this data."""
    problems = list(dict.fromkeys(problems_of(study, pack.images.shape[1], pack.classes)))
    if problems:
        raise many(f"study {study.name}", problems)


def problems_of(study: Study, size: int, classes: tuple[str, ...]) -> Iterator[str]:
    strangers = list(unknown_metrics(study.fixed, classes))
    yield from strangers
    for params in study.space.probes():
        variant = f" (with {VARIANTS}={params[VARIANTS]})" if VARIANTS in params else ""
        configuration = study.configuration(params)
        found = list(impossible(configuration, size, len(classes)))
        if not found and not strangers:
            found = list(unscored(study.fixed.search, configuration, classes))
        yield from (problem + variant for problem in found)


def impossible(configuration: Configuration, size: int, classes: int) -> Iterator[str]:
    """What cannot go together in one configuration, each problem naming both sides."""
    try:
        registry.check(configuration.model, size)
    except SonotuneError as error:
        yield str(error)
        return
    traits = registry.traits(configuration.model)
    yield from check_loss(configuration.loss, traits, classes)
    if configuration.predict.refine and not (traits.segments and traits.classifies):
        yield (
            f"predict.refine: is on, but model {configuration.model.name!r} has not both tasks; "
            "refinement compares its mask with its class"
        )


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
    for name in fixed.select.metrics:
        if name not in in_the_end:
            yield "select.metrics: " + unknown(name, raw(in_the_end))


def unscored(search: Search, configuration: Configuration, classes: tuple[str, ...]) -> Iterator[str]:
    """A model of one task goes by its own metrics alone, but each objective needs one of them."""
    traits = registry.traits(configuration.model)
    there = names_of(classes, False, traits.segments, traits.classifies)
    prefix = "refined_" if configuration.predict.refine else ""
    for weights in objectives(search):
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
