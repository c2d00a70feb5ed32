"""Writes a report beside its run: page, Markdown, summary, tables, figures."""

from collections.abc import Container, Iterator, Sequence

from rich.console import Console

from engine.errors import StorageError, without_secrets
from engine.spec.select import Select
from engine.storage import Storage
from reports import page, summary
from reports.build import Report, build
from reports.console import console
from reports.latex import latex
from reports.load import load
from reports.run import Run
from reports.tables import Sheet, Table

TABLES, FIGURES = "report/tables", "report/figures"
ELSEWHERE = "`sonotune report` writes it elsewhere with --out FOLDER"
TEX_ROWS = 60  # of a table that the page does not show: longer ones are for programs


def write(
    location: str, out: Console | None = None, select: Select | None = None, live: float | None = None
) -> str:
    """The report of one run, shown on `out` as well; gives the path of its page back."""
    return write_run(load(location), out, select, live)


def write_run(
    run: Run, out: Console | None = None, select: Select | None = None, live: float | None = None
) -> str:
    summary.refuse_foreign(run.out or run.storage)
    report = build(run, select)
    try:
        path = save(report, live)
    except StorageError as error:
        raise (StorageError(f"{error}; {ELSEWHERE}") if run.out is None else error) from error
    if out:
        console(report, out)
    return path


def short(data: Sequence[Table | Sheet]) -> list[Table]:
    return [table for table in data if isinstance(table, Table) and len(table.rows) <= TEX_ROWS]


def _files(report: Report) -> Iterator[tuple[str, bytes]]:
    for table in report.tables:
        yield f"{TABLES}/{table.name}.csv", table.csv()
    for section in report.sections:
        for table in (*section.shown, *short(section.data)):
            yield f"{TABLES}/{table.name}.tex", latex(table)
        for figure in section.figures:
            yield f"{FIGURES}/{figure.name}.svg", figure.svg.encode()
            yield f"{FIGURES}/{figure.name}.png", figure.png


def _sweep(storage: Storage, written: Container[str]) -> None:
    """What an earlier report had and this one has not would be taken for a part of it."""
    for folder, endings in ((TABLES, (".csv", ".tex")), (FIGURES, (".svg", ".png"))):
        for name in storage.list(folder):
            if name.endswith(endings) and f"{folder}/{name}" not in written:
                storage.delete(f"{folder}/{name}")


def save(report: Report, live: float | None = None) -> str:
    """The page comes last: who sees it finds everything that it links to."""
    storage = report.study.run.out or report.study.run.storage
    written = dict(_files(report))
    for path, data in written.items():
        storage.write(path, data)
    _sweep(storage, written)
    title, parts = report.study.run.name, (report.subtitle, report.warnings, report.sections)
    storage.write("report/report.md", page.markdown(title, *parts))
    picked = report.study.picked if report.study.pick else ""
    whole = summary.summary(report.study, report.extra)
    storage.write(summary.PATH, summary.dump(whole))
    storage.write("report/index.html", page.render(title, *parts, picked, live))
    return f"{without_secrets(storage.location)}/report/index.html"
