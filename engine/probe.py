"""`sonotune check`: trains a step of a space's smallest, largest and busiest model and projects the search's
cost."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import inf

import torch
from rich.console import Console
from rich.table import Table

from engine.appetite import appetite
from engine.driver import resources
from engine.models import registry
from engine.models.cost import cost_of
from engine.spec.distribution import Scalar
from engine.spec.model import Model
from engine.spec.study import Configuration, FirstStage, Study
from engine.training import memory
from engine.training.alone import Bench
from engine.training.trial_step import Measured, measure
from engine.words import plural
from reports.whole import print_whole

Params = Mapping[str, Scalar]
Size = tuple[int, int]  # what a model is ranked by, as its parameters, then images in a step


@dataclass(frozen=True)
class Projection:
    configs: int
    folds: int
    epochs: tuple[int, int]
    hours: tuple[float, float]
    slots: int
    finals: int = 0  # outer folds, each of which trains the pick of its inner ones
    staged: bool = False  # first stages are counted for each configuration, as if nobody shared one

    @property
    def fold_epochs(self) -> tuple[int, int]:
        trained = self.configs * self.folds + self.finals
        return (trained * self.epochs[0], trained * self.epochs[1])


def probe(study: Study, console: Console) -> None:
    slots_here(study)  # what has no room is refused before a step of it is trained
    bench = Bench.of(study)
    for note in (*bench.pack.notes, *bench.manifest.warnings):
        console.print(f"note: {note}", markup=False)
    folds, finals = len(bench.manifest.names), len(bench.manifest.finals)
    measured = {title: _measured(bench, c, bench.manifest.names[0]) for c, title in chosen(bench).items()}
    _print_models(console, measured)
    _print_projection(console, study, project(study, folds, list(measured.values()), finals))


def chosen(bench: Bench) -> dict[Configuration, str]:
    """What is measured, and as what: the most weights need not take the longest."""
    smallest, largest = extremes(bench.study, counter(bench))
    _, busiest = extremes(bench.study, operations(bench))
    titles: dict[Configuration, list[str]] = {}
    for title, one in (("smallest", smallest), ("largest", largest), ("most operations", busiest)):
        titles.setdefault(one, []).append(title)
    if len(titles) == 1:
        return {smallest: "the only one"}
    return {one: ", ".join(names) for one, names in titles.items()}


def _measured(bench: Bench, configuration: Configuration, fold: str) -> Measured:
    """Of two stages the second, with the time of the first, as if nobody shared it."""
    found = measure(bench.job(configuration, fold), bench.pack)
    stage = configuration.first_stage
    if stage is None:
        return found
    first = measure(bench.job(stage, fold), bench.pack)
    seconds = (stage.inner_folds + 1) * first.fold_seconds
    return replace(found, first_seconds=seconds, first_epochs=stage.epochs)


def memory_of_largest(bench: Bench) -> tuple[float, float]:
    """Bytes of this process's GPU in use after two steps and a validation, and all of them; of two stages
    after both. The largest here is what seems to take the most, which need not have the most weights."""
    _, largest = extremes(bench.study, appetite(bench))
    for part in (largest.first_stage, largest):
        if part is not None:
            measure(bench.job(part, bench.manifest.names[0]), bench.pack)
    return memory.in_use()


def counter(bench: Bench) -> Callable[[Configuration], Size]:
    """Counts the parameters of each different model once, on a device that computes nothing."""
    classes, size = len(bench.pack.classes), bench.pack.images.shape[1]
    each = cache(lambda model, channels: _parameters(model, channels, classes, size))

    def count(configuration: Configuration) -> Size:
        trained, channels = configuration.trained, configuration.preprocess.channels
        return each(registry.resolve(trained.model), channels), trained.train.batch

    return count


def _parameters(model: Model, channels: int, classes: int, size: int) -> int:
    bare = model.model_copy(update={"weights": "none"})
    try:
        with torch.device("meta"):
            network = registry.build(bare, channels, classes, size)
    except RuntimeError:  # some networks look at values while they are built
        network = registry.build(bare, channels, classes, size)
    return sum(p.numel() for p in network.parameters())


def operations(bench: Bench) -> Callable[[Configuration], Size]:
    """FLOPs of an image through all epochs of a fold; of two stages through both."""
    classes, size = len(bench.pack.classes), bench.pack.images.shape[1]
    each = cache(lambda model, channels: cost_of(model, channels, classes, size).flops)

    def of(stage: Configuration | FirstStage) -> int:
        bare = stage.trained.model.model_copy(update={"weights": "none"})
        return int(stage.epochs * each(registry.resolve(bare), stage.preprocess.channels))

    def count(configuration: Configuration) -> Size:
        first = configuration.first_stage
        return of(configuration) + (of(first) if first else 0), configuration.trained.train.batch

    return count


def extremes(study: Study, size: Callable[[Configuration], Size]) -> tuple[Configuration, Configuration]:
    """The smallest and the largest model by `size`; the latter with the largest batch it may meet."""
    probes = list(study.space.probes())

    def extreme(sign: int) -> Configuration:
        def rank(params: Params) -> Size:
            parameters, batch = size(study.configuration(params))
            return (sign * parameters, sign * batch)

        best = max(probes, key=rank)
        for name in tuple(best):
            best = max((best, *_moved(study, best, name)), key=rank)
        return study.configuration(best)

    return extreme(-1), extreme(+1)


def _moved(study: Study, params: Params, name: str) -> Iterator[dict[str, Scalar]]:
    """The same setting with one dimension at each of its ends: probes move only one from the first end."""
    dimension = next(d for d in study.space.dimensions if d.name == name)
    if name in params:
        yield from (study.space.base({**params, name: end}) for end in dimension.distribution.ends())


def slots_here(study: Study) -> int:
    here = [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}]
    share = resources.share(study.fixed.resources, here)
    slots = resources.slots(study.fixed.resources, share, here)
    if slots < 1:
        raise resources.no_room(share, here)
    return slots


def project(study: Study, folds: int, measured: list[Measured], finals: int = 0) -> Projection:
    """Between all configurations like the cheapest and all like the dearest, none of them stopped early."""
    configs = int(min(study.fixed.search.configs, study.space.size))
    slots = slots_here(study)
    epochs, staged = [m.epochs for m in measured], any(m.first_epochs for m in measured)
    hours = [(configs * folds + finals) * m.fold_seconds / slots / 3600 for m in measured]
    return Projection(
        configs, folds, (min(epochs), max(epochs)), (min(hours), max(hours)), slots, finals, staged
    )


def _print_models(console: Console, measured: Mapping[str, Measured]) -> None:
    table = Table("", "model", "parameters", "FLOPs", "peak memory", "step", "batch", box=None)
    for title, one in measured.items():
        costs = one.costs
        table.add_row(
            title,
            one.configuration.model.name,
            f"{costs.parameters:,}",
            f"{costs.flops / 1e9:.3f} G",
            f"{costs.peak_memory_mb:,.0f} MiB",
            f"{1000 * one.step_seconds:.0f} ms",
            str(one.configuration.train.batch),
        )
    print_whole(table, console)


def _print_projection(console: Console, study: Study, cost: Projection) -> None:
    space = study.space
    size = "no end of configurations" if space.size == inf else plural(space.size, "configuration")
    console.print(f"{study.name}: {plural(len(space.dimensions), 'dimension')}, {size}; every end is sound")
    ending = "s" * (cost.epochs[1] != 1)
    shared = " and no first stage is shared" if cost.staged else ""
    picks = f" and {plural(cost.finals, 'outer fold')} of the picks" if cost.finals else ""
    console.print(
        f"search: {plural(cost.configs, 'configuration')} × {plural(cost.folds, 'fold')}{picks} × "
        f"{_span(cost.epochs, 'd')} epoch{ending} = {_span(cost.fold_epochs, ',')} fold-epochs "
        f"where nothing is stopped early{shared}",
        highlight=False,
    )
    console.print(
        f"time: for these about {_lasting(cost.hours)} on this machine, {cost.slots} side by side",
        highlight=False,
    )
    budget = study.fixed.search.budget.model_dump(exclude_none=True)
    if budget:
        told = ", ".join(f"{name} {value:g}" for name, value in budget.items())
        console.print(f"the budget may end it earlier: {told}", highlight=False)


def _lasting(hours: tuple[float, float]) -> str:
    """In a unit that fits. A step or two tell no more than two digits of what thousands of them take."""
    units = {"hours": 1, "minutes": 60, "seconds": 3600}
    unit = next((name for name, parts in units.items() if parts * hours[1] >= 1), "seconds")
    low, high = (float(f"{units[unit] * end:.2g}") for end in hours)
    return f"{_span((low, high), ',g')} {unit}"


def _span(ends: tuple[float, float], form: str) -> str:
    low, high = (format(end, form) for end in ends)
    return low if low == high else f"{low} to {high}"
