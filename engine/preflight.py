"""Refuses what cannot train before Ray starts and before a GPU second is spent."""

from collections.abc import Iterator

from engine.data.cases import Pack
from engine.errors import SonotuneError, many
from engine.losses.check import check_loss
from engine.models import registry
from engine.spec.space import VARIANTS
from engine.spec.study import Configuration, Study


def check_study(study: Study, pack: Pack) -> None:
    """Every corner of the space must be buildable on this data."""
    problems = list(dict.fromkeys(problems_of(study, pack.images.shape[1], len(pack.classes))))
    if problems:
        raise many(f"study {study.name}", problems)


def problems_of(study: Study, size: int, classes: int) -> Iterator[str]:
    for params in study.space.probes():
        variant = f" (with {VARIANTS}={params[VARIANTS]})" if VARIANTS in params else ""
        yield from (problem + variant for problem in impossible(study.configuration(params), size, classes))


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
