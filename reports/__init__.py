"""Fold-aggregated reports: reads run folders, imports neither torch nor Ray."""


def write(location: str) -> str:
    """Writes the report of a run folder; the path of its page. Imports late: matplotlib takes a second."""
    from reports.write import write as write_report

    return write_report(location)
