"""What the journal's records mean to a report."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import SonotuneError
from engine.results import RunPaths
from engine.spec.distribution import Uniform
from engine.spec.load import study_of


def kind_of(record: Mapping[str, Any]) -> str:
    return str(record.get("event") or "")


def config_of(record: Mapping[str, Any]) -> str:
    """Events name their configuration directly or through their task."""
    task = record.get("task")
    value = task.get("key") if isinstance(task, Mapping) else record.get("config")
    return value if isinstance(value, str) else ""


def fold_of(record: Mapping[str, Any]) -> str:
    task = record.get("task")
    return str(task.get("fold", "")) if isinstance(task, Mapping) else ""


def drawn_by_log(study: Mapping[str, Any]) -> dict[str, bool]:
    """Of the parameters drawn from an interval, as far as the study can be read: was that on a log scale?"""
    try:
        space = study_of(study, RunPaths.study).space
    except (SonotuneError, KeyError, TypeError, ValueError):
        return {}
    return {d.name: d.distribution.log for d in space.dimensions if isinstance(d.distribution, Uniform)}


def configurations(
    study: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """What the journal's values mean, also for configurations that never ended a fold."""
    try:
        space = study_of(study, RunPaths.study)
        asked = [space.configuration(r["params"]) for r in journal if kind_of(r) == "asked"]
    except (SonotuneError, KeyError, TypeError, ValueError):
        return {}
    return {one.config_id: one.record() for one in asked}
