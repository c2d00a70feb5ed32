"""Writes a report beside its run: page, Markdown, summary, tables, figures."""

from collections.abc import Sequence

from rich.console import Console

from engine.spec.select import Select
from reports import page, summary
from reports.build import Report, build
from reports.console import console
from reports.latex import latex
from reports.load import load
from reports.run import Run
from reports.tables import Sheet, Table

TEX_ROWS = 60  # of a table that the page does not show: longer ones are for programs


def write(
    location: str, out: Console | None = None, select: Select | None = None, live: float | None = None
) -> str:
    """The report of one run, shown on `out` as well; gives the path of its page back."""
    return write_run(load(location), out, select, live)


def write_run(
    run: Run, out: Console | None = None, select: Select | None = None, live: float | None = None
) -> str:
    summary.refuse_foreign(run.storage)
    report = build(run, select)
    path = save(report, live)
    if out:
        console(report, out)
    return path


def short(data: Sequence[Table | Sheet]) -> list[Table]:
    return [table for table in data if isinstance(table, Table) and len(table.rows) <= TEX_ROWS]


def save(report: Report, live: float | None = None) -> str:
    """The page comes last: who sees it finds everything that it links to."""
    storage = report.study.run.storage
    for table in report.tables:
        storage.write(f"report/tables/{table.name}.csv", table.csv())
    for section in report.sections:
        for table in (*section.shown, *short(section.data)):
            storage.write(f"report/tables/{table.name}.tex", latex(table))
        for figure in section.figures:
            storage.write(f"report/figures/{figure.name}.svg", figure.svg.encode())
            storage.write(f"report/figures/{figure.name}.png", figure.png)
    title, parts = report.study.run.name, (report.subtitle, report.warnings, report.sections)
    storage.write("report/report.md", page.markdown(title, *parts))
    picked = report.study.picked if report.study.pick else ""
    whole = summary.summary(report.study, report.extra)
    storage.write(summary.PATH, summary.dump(whole))
    storage.write("report/index.html", page.render(title, *parts, picked, live))
    return f"{storage.location}/report/index.html"
