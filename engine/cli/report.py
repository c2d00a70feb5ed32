"""`sonotune report`: writes the report of a run, or of several runs side by side."""

from typing import Annotated

import typer
from rich.console import Console

Runs = Annotated[list[str], typer.Argument(help="Run folders; several are shown side by side.")]


def report(run: Runs) -> None:
    """Write the report of a run folder and print its leaderboard."""
    from reports.write import write

    console = Console()
    for location in run:
        console.print(f"report: {write(location, console)}", soft_wrap=True, highlight=False)
