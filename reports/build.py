"""Puts a report together: which sections there are, and what is warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import SonotuneError
from engine.spec.select import Select
from engine.words import plural
from reports import background, correction, first_stages, parts
from reports.run import Run
from reports.sections import Section
from reports.study import Study, study_of
from reports.tables import Sheet, Table
from reports.warn import warnings_of


@dataclass(frozen=True)
class Report:
    study: Study
    subtitle: str
    warnings: Sequence[str]
    sections: Sequence[Section]
    extra: dict[str, Any]  # what `summary.json` says beyond its fixed part

    @property
    def tables(self) -> list[Table | Sheet]:
        return [table for section in self.sections for table in section.tables]


def select_of(run: Run) -> Select:
    given = run.study.get("select")
    try:
        return Select.model_validate(given if isinstance(given, dict) else {})
    except ValueError as error:
        raise SonotuneError(f"{run.location}/study.yaml: `select` does not fit: {error}") from error


MAKERS = (
    parts.pick, correction.section, background.board, parts.tests, parts.classes, first_stages.section,
    background.learned, background.raced, background.space, background.spent, background.seen,
    background.printed, background.left_out, background.origin,
)  # fmt: skip


def build(run: Run, select: Select | None = None) -> Report:
    study = study_of(run, select or select_of(run))
    sections = [section for make in MAKERS if (section := make(study)) is not None]
    extra = {"estimates": study.optimism if study.pick else []}
    return Report(study, subtitle(run), warnings_of(study), sections, extra)


def subtitle(run: Run) -> str:
    done = plural(sum(len(c.folds) for c in run.configs), "fold")
    done += f" and {plural(len(run.finals), 'outer fold')}" if run.finals else ""
    each = f"{plural(len(run.configs), 'configuration')}, {plural(len(run.folds), 'fold')} each"
    return (
        f"{each}; {len(run.complete)} complete, {done} trained. Configurations are picked by "
        "validation figures; test figures are only reported."
    )
