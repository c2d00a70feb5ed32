"""What a reader must know before believing a figure; it stands at the top of the report."""

from collections import Counter
from collections.abc import Iterable, Mapping

from engine.words import plural
from reports.measures import inside, objective
from reports.run import Config, Run
from reports.shape import on_true_masks
from reports.study import Study


def warnings_of(study: Study) -> list[str]:
    run = study.run
    found = [str(w) for w in run.manifest.get("warnings") or ()]
    found += [f"{text} ({plural(count, 'fold')})" for text, count in _of_folds(run)]
    found += _unfinished(run)
    found += _optimistic(run)
    found += _unlike(run)
    found += [study.unusable] if study.unusable else []
    if study.problems:
        count = len(study.problems)
        parts = "part of the run folder is" if count == 1 else "parts of the run folder are"
        found.append(f"{count} {parts} missing or damaged; see “Left out”.")
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
            yield f"Configurations that {told}: {statuses[status]}; they have no mean and are not compared."


def _unlike(run: Run) -> Iterable[str]:
    """A network of one task has that task's part of the score alone, and ranks by it beside the others."""
    wanted = list(dict.fromkeys(name for one in objective(run.study) for name in one))
    parts = [tuple(name for name in wanted if _measured(config, name)) for config in run.complete]
    counts = Counter(parts)
    if len(counts) < 2:
        return
    told = "; ".join(f"{n} by {' and '.join(map(inside, part)) or 'nothing'}" for part, n in counts.items())
    yield (
        f"The scores are of different figures ({told}), as some networks lack a task: compare "
        "configurations of one kind by score, and all of them by the columns that they share."
    )


def _measured(config: Config, name: str) -> bool:
    return any({name, f"refined_{name}"} & result.validation.keys() for result in config.folds.values())


def _optimistic(run: Run) -> Iterable[str]:
    """Settings that make a figure better than new cases would."""
    if any(on_true_masks(config.config) for config in run.configs):
        yield "Some second stages were trained on true masks (masks: truth), which is optimistic."
    folds = run.study.get("folds")
    if isinstance(folds, Mapping) and folds.get("allow_leak"):
        yield "folds.allow_leak is on: cases of one patient or group of duplicates may lie on two sides."
