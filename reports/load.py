"""Reads a run folder. What cannot be read is listed beside what can, never guessed."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.errors import SonotuneError, without_secrets
from engine.journal.journal import read_journal
from engine.results import FoldResult, RunPaths, damaged_files, read_result
from engine.storage import Storage, open_storage
from engine.task import Task
from reports import files
from reports.events import config_of, configurations, kind_of
from reports.run import Config, Problem, Run, fold_rows

READERS = 4
OUTER = re.compile(r"o[0-9]+")


def load(location: str) -> Run:
    storage = open_storage(location)
    _check(storage, location)
    problems: list[Problem] = []
    study = _read(storage, RunPaths.study, files.study, problems)
    manifest = _read(storage, RunPaths.folds, files.manifest, problems)
    provenance = _read(storage, RunPaths.provenance, files.mapping, problems)
    journal = tuple(_journal(storage, problems))
    results = _results(storage, problems)
    outer = _outer(manifest, results)
    main = [r for r in results if r.stage == "main" and r.fold not in outer]
    stages = tuple(r for r in results if r.stage != "main")
    folds = _fold_names(manifest, main, outer, problems)
    return Run(
        location=str(location),
        storage=storage,
        name=str(study.get("study") or without_secrets(location)),
        study=study,
        manifest=manifest,
        provenance=provenance,
        journal=journal,
        folds=folds,
        classes=tuple(main[0].classes) if main else (),
        configs=_configs(main, stages, folds, journal, study),
        stages=stages,
        finals=tuple(r for r in results if r.stage == "main" and r.fold in outer),
        problems=tuple(problems),
    )


def _check(storage: Storage, location: str) -> None:
    if {RunPaths.study, RunPaths.results, RunPaths.journal, RunPaths.segments}.isdisjoint(storage.list("")):
        storage.check_bucket()
        raise SonotuneError(
            f"{location} is not a run folder: it has neither {RunPaths.study} nor {RunPaths.results}/; "
            f"give the folder that `sonotune search --run` wrote"
        )


def _read(
    storage: Storage, path: str, parse: Callable[[bytes], Any], problems: list[Problem]
) -> Mapping[str, Any]:
    if not storage.exists(path):
        problems.append(Problem(path, "is missing"))
        return {}
    try:
        return dict(parse(storage.read(path)))
    except (SonotuneError, ValueError, TypeError, OSError) as error:
        problems.append(Problem(path, f"cannot be read: {error}"))
        return {}


def _journal(storage: Storage, problems: list[Problem]) -> Iterable[Mapping[str, Any]]:
    """The run's events as far as they can be read; a report must not fail on a damaged journal."""
    try:
        records, warnings = read_journal(storage)
    except SonotuneError as error:
        problems.append(Problem(RunPaths.journal, str(error)))
        yield from _readable(storage)
    else:
        problems += [Problem(RunPaths.journal, warning) for warning in warnings]
        yield from records


def _readable(storage: Storage) -> Iterable[Mapping[str, Any]]:
    """Every line of a damaged journal that is JSON all the same."""
    for path in _journal_files(storage):
        for line in storage.read(path).splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and kind_of(record) and _counts(record):
                yield record


def _counts(record: Mapping[str, Any]) -> bool:
    """Whether what must be numbers is numbers: without its checksums a journal may hold anything."""
    given = [record[name] for name in ("epoch", "epochs", "clock", "held") if record.get(name) is not None]
    return all(isinstance(value, int | float) for value in given)


def _journal_files(storage: Storage) -> list[str]:
    """One file on a disk, numbered segments on an object store."""
    if storage.exists(RunPaths.journal):
        return [RunPaths.journal]
    return [f"{RunPaths.segments}/{name}" for name in storage.list(RunPaths.segments)]


def _results(storage: Storage, problems: list[Problem]) -> list[FoldResult]:
    """Every sound result; reading and checking wait on the disk or the store, so several do it at once."""
    keys = storage.list(RunPaths.results)
    tasks = [Task(key, fold) for key in keys for fold in storage.list(f"{RunPaths.results}/{key}")]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda task: _sound(storage, task), tasks))
    problems += [one for one in found if isinstance(one, Problem)]
    return [one for one in found if isinstance(one, FoldResult)]


def _sound(storage: Storage, task: Task) -> FoldResult | Problem | None:
    """None when the fold has not ended."""
    try:
        result = read_result(storage, task)
        bad = damaged_files(storage, task, result.files) if result else []
    except (SonotuneError, TypeError, AttributeError, OSError) as error:
        return Problem(RunPaths.result(task), str(error))
    return Problem(RunPaths.result(task), f"{', '.join(bad)} missing or damaged") if bad else result


def _outer(manifest: Mapping[str, Any], results: Sequence[FoldResult]) -> set[str]:
    """Where no manifest says so, an outer fold beside inner ones is told by its name: it is none of them."""
    if manifest:
        return {str(row.get("name")) for row in manifest.get("finals") or () if isinstance(row, dict)}
    trained = {result.fold for result in results}
    outer = {fold for fold in trained if OUTER.fullmatch(fold)}
    return outer if trained - outer else set()


def _fold_names(
    manifest: Mapping[str, Any], results: Sequence[FoldResult], outer: set[str], problems: list[Problem]
) -> tuple[str, ...]:
    named = tuple(str(row["name"]) for row in fold_rows(manifest))
    if named:
        return named
    seen = tuple(sorted({r.fold for r in results}))
    if seen:
        beside = f"; left out of every mean, as outer folds: {', '.join(sorted(outer))}" if outer else ""
        told = f"names no folds; taken from the results: {', '.join(seen)}{beside}"
        problems.append(Problem(RunPaths.folds, told))
    return seen


def _configs(
    results: Sequence[FoldResult],
    stages: Sequence[FoldResult],
    folds: Sequence[str],
    journal: Sequence[Mapping[str, Any]],
    study: Mapping[str, Any],
) -> tuple[Config, ...]:
    """In the order in which they were begun; whose first stage failed has failed with it."""
    by_key: dict[str, dict[str, FoldResult]] = {}
    for result in sorted(results, key=lambda r: r.started):
        by_key.setdefault(result.key, {})[result.fold] = result
    dropped = {config_of(r): str(r.get("reason", "")) for r in journal if kind_of(r) == "dropped"}
    opened = {config_of(r): r.get("prerequisite") for r in journal if kind_of(r) == "opened"}
    failed = {stage.key: stage for stage in stages if stage.status != "complete" and stage.fold in folds}
    asked = configurations(study, journal)
    order = [*opened, *by_key, *dropped]
    keys = [k for k in dict.fromkeys(order) if k]
    return tuple(
        _config(
            key, by_key.get(key, {}), failed.get(str(opened.get(key))), folds, dropped, asked.get(key, {})
        )
        for key in keys
    )


def _config(
    key: str,
    found: Mapping[str, FoldResult],
    first: FoldResult | None,
    folds: Sequence[str],
    dropped: Mapping[str, str],
    asked: Mapping[str, Any],
) -> Config:
    done = {fold: found[fold] for fold in folds if fold in found and found[fold].status == "complete"}
    bad = [r for r in found.values() if r.status != "complete"]
    config = next((r.config for r in found.values()), asked)
    if folds and len(done) == len(folds):
        return Config(key, config, "complete", done)
    if bad:
        return Config(key, config, bad[0].status, done, bad[0].error)
    if first is not None:
        reason = f"its first stage {first.key} {first.status} on fold {first.fold}: {first.error}"
        return Config(key, config, first.status, done, reason)
    return Config(key, config, "dropped" if key in dropped else "partial", done, dropped.get(key, ""))
