"""Puts a report together: what is computed, in which section it stands, what is warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import SonotuneError
from engine.spec import text
from engine.spec.select import Select
from reports import boards, learning
from reports.aggregate import Figures, figures
from reports.choose import Pick, choose
from reports.load import Run
from reports.sections import Code, Facts, Section, Text
from reports.tables import Table


@dataclass(frozen=True)
class Report:
    run: Run
    known: Figures
    pick: Pick | None
    select: Select
    subtitle: str
    warnings: Sequence[str]
    sections: Sequence[Section]
    extra: dict[str, Any]  # what `summary.json` says beyond its fixed part
    lines: Sequence[str] = ()  # what the console says below the pick

    @property
    def tables(self) -> list[Table]:
        return [table for section in self.sections for table in section.tables]


def select_of(run: Run) -> Select:
    """The study's own `select` section; a foreign one falls back to the defaults."""
    given = run.study.get("select")
    try:
        return Select.model_validate(given if isinstance(given, dict) else {})
    except ValueError as error:
        raise SonotuneError(f"{run.location}/study.yaml: `select` does not fit: {error}") from error


def build(run: Run, select: Select | None = None) -> Report:
    select = select or select_of(run)
    known = figures(run)
    pick = choose(run, known, select)
    sections = [_pick(run, known, pick, select), _board(run, known)]
    if pick:
        rows = learning.frame(run, [run.by_id[pick.config_id]])
        sections.append(Section("learning", "Learning curves", learning.figures(rows, pick.config_id)))
    missing = boards.problem_table(run)
    if missing.rows:
        sections.append(Section("missing", "Left out", [missing]))
    return Report(run, known, pick, select, _subtitle(run), _warnings(run), sections, {})


def _subtitle(run: Run) -> str:
    done = sum(len(c.folds) for c in run.configs)
    return (
        f"{len(run.configs)} configurations, {len(run.folds)} folds each: {len(run.complete)} complete, "
        f"{done} folds trained. Validation figures picked; test figures were never looked at to pick."
    )


def _warnings(run: Run) -> list[str]:
    found = [str(w) for w in run.manifest.get("warnings") or ()]
    return found + [f"{len(run.problems)} parts of the run folder could not be read."] * bool(run.problems)


def _pick(run: Run, known: Figures, pick: Pick | None, select: Select) -> Section:
    if pick is None:
        return Section("pick", "The pick", [Text("No configuration has all of its folds yet.")])
    shown = text.dump(dict(run.by_id[pick.config_id].config))
    command = f"sonotune predict {run.location} --config {pick.config_id} --images FOLDER"
    table = boards.interval_table(known, pick.config_id, select.confidence)
    return Section("pick", f"The pick: {pick.config_id}", [
        Text(pick.reason), table, Code("yaml", "The picked configuration", shown),
        Code("command", "Use it", command),
    ])  # fmt: skip


def _board(run: Run, known: Figures) -> Section:
    blocks = [boards.board_table(run, known), boards.fold_table(run, known)]
    return Section("leaderboard", "Leaderboard", blocks)


def facts(run: Run) -> Facts:
    return Facts([(str(name), str(value)) for name, value in run.provenance.items()])
