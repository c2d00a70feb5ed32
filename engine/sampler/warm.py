"""What earlier runs learned, for `--warm-from`: their complete configurations as the sampler wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from engine.errors import SonotuneError, without_secrets
from engine.folder import existing, manifest_in, study_in
from engine.journal.journal import read_journal
from engine.journal.records import Record
from engine.objective import objectives
from engine.results import read_result
from engine.sampler.learned import KINDS
from engine.sampler.sampler import Past, fits
from engine.spec.distribution import Scalar
from engine.spec.search import SamplerName, Search
from engine.spec.space import Space
from engine.storage import Storage
from engine.task import Task
from engine.words import plural


@dataclass
class Known:
    """One configuration of an earlier run: what was drawn, and each complete fold's values."""

    params: Mapping[str, Scalar]
    folds: dict[str, Sequence[float]] = field(default_factory=dict)


def check_warm(sampler: SamplerName, locations: Sequence[str]) -> None:
    """What is asked for must have an effect. Generations that come of their own proposals alone (nsga2) take
    no notice of others."""
    takers = [name for name, kind in KINDS.items() if kind.fewest]
    if locations and sampler not in takers:
        raise SonotuneError(
            f"--warm-from has no effect with sampler {sampler}, which does not learn from earlier runs; "
            f"leave it away, or take one of {', '.join(takers)}"
        )


def check_enough(search: Search, space: Space, known: Sequence[Past]) -> None:
    """None at all is told, not refused: runs from which nothing is learned have a sentence each."""
    kind = KINDS.get(search.sampler)
    fitting = sum(fits(space, one.params) for one in known)
    if kind and kind.fewest and 0 < fitting < kind.fewest:
        raise SonotuneError(
            f"--warm-from has {plural(fitting, 'complete configuration')} that fit this space, sampler "
            f"{search.sampler} begins with {kind.fewest} or more; give further runs, or take another sampler"
        )


def warm_told(known: Sequence[Past]) -> list[Record]:
    """What the journal keeps of it, so that a resume learns the same."""
    return [{"event": "warm", "past": [asdict(one) for one in known]}] if known else []


def earlier(locations: Sequence[str], search: Search) -> tuple[list[Past], list[str]]:
    """The complete configurations of these runs, and a sentence for each run that has none to give. What one
    has from another, by `--reuse`, counts once: the same draw with the same values."""
    past: dict[str, Past] = {}
    notes: list[str] = []
    for location in locations:
        storage, place = existing(location), without_secrets(location)
        if objectives(study_in(storage).fixed.search) != objectives(search):
            notes.append(f"{place} had another objective: nothing is learned from it")
            continue
        found = _complete(storage, search)
        past |= {repr(one): one for one in found}
        if not found:
            notes.append(f"{place} has no complete configuration: nothing is learned from it")
    return list(past.values()), notes


def _complete(storage: Storage, search: Search) -> list[Past]:
    """On all folds that were raced: outer folds of a nested design were trained for their picks alone."""
    names = set(manifest_in(storage).names)
    known = known_configurations(read_journal(storage)[0])
    signs = [1 if side == "maximize" else -1 for side in search.directions]
    raced = {key: {f: v for f, v in one.folds.items() if f in names} for key, one in known.items()}
    return [
        Past(known[key].params, _means(folds, signs), _figures(storage, key, min(names), search))
        for key, folds in raced.items()
        if len(folds) == len(names)
    ]


def known_configurations(records: Sequence[Record]) -> dict[str, Known]:
    """By key. A proposal is followed by the opening of its configuration, unless that was known already."""
    known: dict[str, Known] = {}
    params: Mapping[str, Scalar] | None = None
    for record in records:
        if record["event"] == "opened" and params is not None:
            known[record["config"]] = Known(params)
        elif record["event"] == "ended" and record["status"] == "complete":
            _take(known, record)
        params = record["params"] if record["event"] == "asked" else None
    return known


def _take(known: Mapping[str, Known], record: Mapping[str, Any]) -> None:
    task = Task(**record["task"])
    if task.key in known:
        known[task.key].folds[task.fold] = record["values"] or [record["score"]]


def _means(folds: Mapping[str, Sequence[float]], signs: Sequence[int]) -> list[float]:
    """Over the folds; the race holds every value so that higher is better, the sampler as it is measured."""
    columns = zip(*folds.values(), strict=True)
    return [sign * fmean(column) for sign, column in zip(signs, columns, strict=True)]


def _figures(storage: Storage, key: str, fold: str, search: Search) -> dict[str, float]:
    """What the constraints bound, as one fold has measured it."""
    bounds = search.constraints.bounds()
    result = read_result(storage, Task(key, fold)) if bounds else None
    return {name: float(getattr(result, name)) for name in bounds} if result else {}
