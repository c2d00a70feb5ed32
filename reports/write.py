"""Writes a report beside its run: page, Markdown, summary, tables, figures."""

from rich.console import Console

from engine.spec.select import Select
from reports import page, summary
from reports.build import Report, build
from reports.console import console
from reports.latex import latex
from reports.load import load


def write(
    location: str, out: Console | None = None, select: Select | None = None, live: float | None = None
) -> str:
    """The report of one run, shown on `out` as well; gives the path of its page back."""
    report = report_of(location, select)
    path = save(report, live)
    if out:
        console(report, out)
    return path


def report_of(location: str, select: Select | None = None) -> Report:
    run = load(location)
    summary.refuse_foreign(run.storage)
    return build(run, select)


def save(report: Report, live: float | None = None) -> str:
    """The page comes last: who sees it finds everything that it links to."""
    storage = report.run.storage
    for table in report.tables:
        storage.write(f"report/tables/{table.name}.csv", table.csv())
        storage.write(f"report/tables/{table.name}.tex", latex(table))
    for section in report.sections:
        for figure in section.figures:
            storage.write(f"report/figures/{figure.name}.svg", figure.svg.encode())
    title, parts = report.run.name, (report.subtitle, report.warnings, report.sections)
    storage.write("report/report.md", page.markdown(title, *parts))
    whole = summary.summary(report.run, report.known, report.pick, report.extra)
    storage.write(summary.PATH, summary.dump(whole))
    storage.write("report/index.html", page.render(title, *parts, live=live))
    return f"{storage.location}/report/index.html"
