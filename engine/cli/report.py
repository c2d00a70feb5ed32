"""`sonotune report`: writes the report of a run, or of several runs side by side."""

from typing import Annotated

import typer

Runs = Annotated[list[str], typer.Argument(help="Run folders; several are shown side by side.")]


def report(run: Runs) -> None:
    """Write the report of a run folder and print its leaderboard."""
    from reports.commands import report_one

    for location in run:
        typer.echo(report_one(location))
