"""What a reader must know before believing a figure; it stands at the top of the report."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from reports.run import Run
from reports.study import Study


def warnings_of(study: Study) -> list[str]:
    run = study.run
    found = [str(w) for w in run.manifest.get("warnings") or ()]
    found += [f"{text} ({count} folds)" for text, count in _of_folds(run)]
    found += _unfinished(run)
    found += _optimistic(run)
    if study.problems:
        count = len(study.problems)
        found.append(f"{count} parts of the run folder are missing or damaged; see “Left out”.")
    if len(run.folds) < 2 and run.folds:
        found.append("There is one fold only, so nothing here has a spread.")
    return list(dict.fromkeys(text[:1].upper() + text[1:] for text in found))


def _of_folds(run: Run) -> list[tuple[str, int]]:
    """What training itself warned of, each warning once."""
    return Counter(w for c in run.configs for r in c.folds.values() for w in r.warnings).most_common()


def _unfinished(run: Run) -> Iterable[str]:
    statuses = Counter(c.status for c in run.configs)
    for status, told in (("failed", "have a fold that crashed"), ("diverged", "have a fold that diverged")):
        if statuses[status]:
            yield f"{statuses[status]} configurations {told}; they have no mean and are not compared."


def _optimistic(run: Run) -> Iterable[str]:
    """Settings that make a figure better than new cases would."""
    leaves = [leaf for config in run.configs for leaf in _leaves(config.config)]
    if ("masks", "truth") in leaves:
        yield "Some second stages were trained on true masks (masks: truth), which is optimistic."
    folds = run.study.get("folds")
    if isinstance(folds, Mapping) and folds.get("allow_leak"):
        yield "folds.allow_leak is on: cases of one patient or group of duplicates may lie on two sides."


def _leaves(value: Any) -> Iterable[tuple[str, Any]]:
    for key, below in value.items() if isinstance(value, Mapping) else ():
        if isinstance(below, Mapping):
            yield from _leaves(below)
        elif isinstance(below, str):
            yield str(key), below
