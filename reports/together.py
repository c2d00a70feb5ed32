"""Several runs as one, so that their configurations can be compared: only on the very same folds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.errors import SonotuneError, without_secrets
from engine.results import FoldResult
from engine.storage import open_storage
from reports.files import PARTS
from reports.measures import objective
from reports.run import Config, Problem, Run

MARK = "·"  # before the number of what has one name in two runs


def together(runs: Sequence[Run], out: str) -> Run:
    """One run that holds the configurations of all; refused with the reason where they do not match.

    Each run's nested estimate stays in its own report: it is not one of choosing among all of them.
    """
    first = runs[0]
    for other in runs[1:]:
        if reason := mismatch(first, other):
            raise SonotuneError(
                f"{first.location} and {other.location} cannot be compared: {reason}; "
                "report them one by one, or train both on the same folds (folds.from)"
            )
    names = _names(runs)
    configs = [
        _moved(config, run, name) for run, name in zip(runs, names, strict=True) for config in run.configs
    ]
    return replace(
        first, location=out, storage=open_storage(out), name=" and ".join(names),
        classes=next((run.classes for run in runs if run.classes), ()),
        configs=tuple(_told_apart(_merged(configs))), journal=(), provenance=_provenance(runs, names),
        manifest=_manifest(runs, names), finals=(),
        stages=_stages(runs), problems=_problems(runs, names),
    )  # fmt: skip


def _stages(runs: Sequence[Run]) -> tuple[FoldResult, ...]:
    """First stages that runs have in common count once; of one key with other results, each has its own
    number, as configurations have."""
    found: dict[tuple[str, str, str], FoldResult] = {}
    for number, run in enumerate(runs, 1):
        taken = {stage.key for stage in found.values()}
        for stage in run.stages:
            known = (stage.key, stage.fold, stage.address) in found
            apart = stage.key in taken and not known
            new = replace(stage, key=f"{stage.key}{MARK}{number}") if apart else stage
            found.setdefault((stage.key, stage.fold, stage.address), new)
    return tuple(found.values())


def mismatch(first: Run, other: Run) -> str | None:
    if first.classes and other.classes and first.classes != other.classes:
        return (
            f"the classes are {', '.join(first.classes)} in one and {', '.join(other.classes)} in the other"
        )
    if first.folds != other.folds:
        return f"one has the folds {', '.join(first.folds)}, the other {', '.join(other.folds) or 'none'}"
    mine, theirs = _members(first), _members(other)
    for fold in first.folds:
        for part in PARTS:
            if mine.get(fold, {}).get(part) != theirs.get(fold, {}).get(part):
                return f"fold {fold} has other {part} cases in each"
    if objective(first.study) != objective(other.study):
        return "their scores are of different objectives (search.objective)"
    prints = [run.provenance.get("data") for run in (first, other)]
    if all(prints) and prints[0] != prints[1]:
        return "they were trained on other data (the fingerprints differ)"
    return None


def _members(run: Run) -> dict[str, dict[str, frozenset[str]]]:
    rows = run.manifest.get("folds") or ()
    return {str(row.get("name")): {part: frozenset(row.get(part) or ()) for part in PARTS} for row in rows}


def _manifest(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    kept = {key: value for key, value in runs[0].manifest.items() if key != "finals"}
    return kept | {"warnings": [*(kept.get("warnings") or ()), *_other_rules(runs, names)]}


def _other_rules(runs: Sequence[Run], names: Sequence[str]) -> Iterator[str]:
    """One pick is made of all: by what the first run says."""
    for run, name in zip(runs[1:], names[1:], strict=True):
        if _picks_by(run.study) != _picks_by(runs[0].study):
            yield f"{name} picks by another select or search.constraints; those of {names[0]} count here"


def _picks_by(study: Mapping[str, Any]) -> tuple[Any, Any]:
    search = study.get("search")
    bounds = search.get("constraints") if isinstance(search, Mapping) else None
    return study.get("select") or {}, bounds or {}


def _names(runs: Sequence[Run]) -> list[str]:
    """A study's name, or the folder where two runs share one."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [_place(run).rstrip("/") for run in runs]


def _place(run: Run) -> str:
    """As a page may show it."""
    return without_secrets(run.location)


def _moved(config: Config, run: Run, name: str) -> Config:
    return replace(config, home=config.home or run.storage, key=config.key or config.id, run=name)


def _merged(configs: Sequence[Config]) -> list[Config]:
    """What two runs trained to the very same results (or one took over from the other) counts once: twice in
    a list it would be its own runner-up."""
    found: dict[Any, Config] = {}
    for number, config in enumerate(configs):
        same = tuple(sorted((fold, result.address) for fold, result in config.folds.items()))
        key = (config.id, same) if config.complete else number
        first = found.setdefault(key, config)
        if first is not config:
            found[key] = replace(first, run=f"{first.run}, {config.run}")
    return list(found.values())


def _told_apart(configs: Sequence[Config]) -> list[Config]:
    """One configuration with other results in each run keeps its id in the first; the others are numbered."""
    seen: dict[str, int] = {}
    found = []
    for config in configs:
        seen[config.id] = seen.get(config.id, 0) + 1
        found.append(
            config if seen[config.id] == 1 else replace(config, id=f"{config.id}{MARK}{seen[config.id]}")
        )
    return found


def _provenance(runs: Sequence[Run], names: Sequence[str]) -> Mapping[str, Any]:
    return {
        name: {"location": _place(run)} | dict(run.provenance) for name, run in zip(names, runs, strict=True)
    }


def _problems(runs: Sequence[Run], names: Sequence[str]) -> tuple[Problem, ...]:
    return tuple(Problem(f"{name}: {p.where}", p.what) for name, run in zip(names, runs, strict=True)
                 for p in run.problems)  # fmt: skip
