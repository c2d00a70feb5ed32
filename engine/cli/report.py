"""`sonotune report`: writes the report of a run, or of several runs side by side."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from engine.cli.options import one_of
from engine.errors import SonotuneError

Runs = Annotated[list[str], typer.Argument(help="Run folders; several are compared on their common folds.")]
Baseline = Annotated[str | None, typer.Option(help="Configuration to test against: its id, or `first`.")]
Out = Annotated[
    str | None,
    typer.Option(help="Where the report goes if not into the (first) run."),
]
Watch = Annotated[bool, typer.Option("--watch", help="Rewrite the report until the run ends.")]
Format = Annotated[
    Literal["page", "paper"],
    typer.Option("--format", **one_of("--format", "page", "paper"), help="`paper`: tables as printed."),
]
Tables = Annotated[str | None, typer.Option(help="With --format paper: acsnet.5, or several by comma.")]


def report(
    run: Runs, baseline: Baseline = None, out: Out = None, watch: Watch = False,
    format_: Format = "page", tables: Tables = None,
) -> None:  # fmt: skip
    """Write the report of a run folder and print its leaderboard."""
    from reports import command

    console = Console()
    _refuse_idle(format_, {"--baseline": baseline, "--out": out, "--watch": watch, "--tables": tables})
    if format_ == "paper":
        command.paper(run, tables, console)
    elif watch:
        command.watched(run, baseline, console)
    else:
        page = command.page(run, baseline, out, console)
        console.print(f"report: {page}", markup=False, soft_wrap=True, highlight=False)


def _refuse_idle(format_: str, given: dict[str, object]) -> None:
    """What would have no effect is refused rather than ignored."""
    idle: tuple[str, ...] = ("--tables",)
    where = "a page; it is for --format paper"
    if format_ == "paper":
        idle, where = ("--baseline", "--out", "--watch"), "--format paper, which prints tables"
    elif given["--watch"]:
        idle, where = ("--out", "--tables"), "--watch, which rewrites the page of one run"
    for name in idle:
        if given[name]:
            raise SonotuneError(f"{name} has no effect with {where}; leave one of them away")
