"""What `sonotune report` does, apart from reading its arguments."""

from reports.console import console
from reports.write import report_of, save


def report_one(location: str) -> str:
    """Writes and shows the report of one run; the path of its page."""
    report = report_of(location)
    path = save(report)
    console(report)
    return path
