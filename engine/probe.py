"""`sonotune check`: trains a step of a space's smallest and largest model and projects the search's cost."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from rich.console import Console
from rich.table import Table

from engine.appetite import appetite
from engine.driver import resources
from engine.models import registry
from engine.spec.distribution import Scalar
from engine.spec.model import Model
from engine.spec.study import Configuration, Study
from engine.training import memory
from engine.training.alone import Bench
from engine.training.trial_step import Measured, measure

Params = Mapping[str, Scalar]
Size = tuple[int, int]  # parameters, then images in a step


@dataclass(frozen=True)
class Projection:
    configs: int
    folds: int
    epochs: tuple[int, int]
    hours: tuple[float, float]
    slots: int

    @property
    def fold_epochs(self) -> tuple[int, int]:
        return (self.configs * self.folds * self.epochs[0], self.configs * self.folds * self.epochs[1])


def probe(study: Study, console: Console) -> None:
    bench = Bench.of(study)
    smallest, largest = extremes(study, counter(bench))
    fold = bench.manifest.names[0]
    measured = [_measured(bench, c, fold) for c in dict.fromkeys((smallest, largest))]
    _print_models(console, measured)
    _print_projection(console, study, project(study, len(bench.manifest.names), measured))


def _measured(bench: Bench, configuration: Configuration, fold: str) -> Measured:
    """Of two stages the second, with the time of the first, as if nobody shared it."""
    found = measure(bench.job(configuration, fold), bench.pack)
    stage = configuration.first_stage
    if stage is None:
        return found
    first = measure(bench.job(stage, fold), bench.pack)
    return replace(found, first_seconds=(stage.inner_folds + 1) * first.fold_seconds)


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


def extremes(study: Study, size: Callable[[Configuration], Size]) -> tuple[Configuration, Configuration]:
    """The smallest and the largest model; the latter with the largest batch it may meet."""
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


def project(study: Study, folds: int, measured: list[Measured]) -> Projection:
    """Between all configurations like the cheapest and all like the dearest, none of them stopped early."""
    fixed = study.fixed
    configs = int(min(fixed.search.configs, study.space.size))
    here = [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}]
    share = resources.share(fixed.resources, here)
    slots = resources.slots(fixed.resources, share, here)
    if slots < 1:
        raise resources.no_room(share, here)
    epochs = [m.configuration.train.epochs for m in measured]
    seconds = [configs * folds * m.fold_seconds / slots for m in measured]
    return Projection(
        configs, folds, (min(epochs), max(epochs)), (min(seconds) / 3600, max(seconds) / 3600), slots
    )


def _print_models(console: Console, measured: list[Measured]) -> None:
    table = Table("", "model", "parameters", "FLOPs", "peak memory", "step", "batch", box=None)
    for name, one in zip(("smallest", "largest"), measured, strict=False):
        costs = one.costs
        table.add_row(
            name if len(measured) > 1 else "the only one",
            one.configuration.model.name,
            f"{costs.parameters:,}",
            f"{costs.flops / 1e9:.3f} G",
            f"{costs.peak_memory_mb:,.0f} MiB",
            f"{1000 * one.step_seconds:.0f} ms",
            str(one.configuration.train.batch),
        )
    console.print(table)


def _print_projection(console: Console, study: Study, cost: Projection) -> None:
    space = study.space
    size = "no end of" if space.size == float("inf") else f"{space.size:.0f}"
    console.print(
        f"{study.name}: {_many(len(space.dimensions), 'dimension')}, {size} "
        f"configuration{'' if size == '1' else 's'}; every end is sound"
    )
    console.print(
        f"search: {_many(cost.configs, 'configuration')} × {cost.folds} folds × "
        f"{_span(cost.epochs, 'd')} epoch{'' if max(cost.epochs) == 1 else 's'} = "
        f"at most {_span(cost.fold_epochs, ',')} fold-epochs",
        highlight=False,
    )
    console.print(
        f"time: at most {_lasting(cost.hours)} on this machine, {cost.slots} side by side",
        highlight=False,
    )
    budget = study.fixed.search.budget.model_dump(exclude_none=True)
    if budget:
        told = ", ".join(f"{name} {value:g}" for name, value in budget.items())
        console.print(f"the budget may end it earlier: {told}", highlight=False)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _lasting(hours: tuple[float, float]) -> str:
    """A smoke test takes no 0.00 hours."""
    low, high = hours
    return f"{_span(hours, '.2f')} hours" if high >= 1 else f"{_span((60 * low, 60 * high), '.1f')} minutes"


def _span(ends: tuple[float, float], form: str) -> str:
    low, high = (format(end, form) for end in ends)
    return low if low == high else f"{low} to {high}"
