"""`sonotune report`: writes the report of a run, or of several runs side by side."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from engine.errors import SonotuneError

Runs = Annotated[list[str], typer.Argument(help="Run folders; several are compared on their common folds.")]
Baseline = Annotated[str | None, typer.Option(help="Configuration to test against: its id, or `first`.")]
Out = Annotated[str | None, typer.Option(help="Where the report of several runs goes.")]
Watch = Annotated[bool, typer.Option("--watch", help="Rewrite the report until the run ends.")]
Format = Annotated[Literal["page", "paper"], typer.Option("--format", help="`paper`: tables as printed.")]
Tables = Annotated[str | None, typer.Option(help="With --format paper: acsnet.5, or several by comma.")]


def report(
    run: Runs, baseline: Baseline = None, out: Out = None, watch: Watch = False,
    format_: Format = "page", tables: Tables = None,
) -> None:  # fmt: skip
    """Write the report of a run folder and print its leaderboard."""
    from reports import command

    console = Console()
    if format_ == "paper":
        command.paper(run, tables, console)
    elif tables:
        raise SonotuneError(f"--tables {tables} needs --format paper")
    elif watch:
        command.watched(run, baseline, console)
    else:
        page = command.page(run, baseline, out, console)
        console.print(f"report: {page}", markup=False, soft_wrap=True, highlight=False)
