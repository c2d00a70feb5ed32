"""`sonotune doctor`: can this machine, or this cluster, run a search?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.cli.options import Address

if TYPE_CHECKING:
    from engine.doctor import Finding

UNFIT = 1


def doctor(
    run: Annotated[str, typer.Option(help="Where run folders will be: a folder or a URI.")] = "runs",
    address: Address = None,
) -> None:
    """Check versions, GPUs, memory and storage, and train a small fold; with --address on every node."""
    from engine.doctor import examine, examine_cluster

    console = Console(soft_wrap=True, highlight=False)
    nodes = examine_cluster(address, run) if address else [("this machine", examine(run))]
    levels = {level for name, findings in nodes for level in _print(console, name, findings)}
    if "red" in levels:
        raise typer.Exit(UNFIT)


def _print(console: Console, name: str, findings: "list[Finding]") -> set[str]:
    table = Table("", "", "found", "what to do", box=None, title=escape(name), title_justify="left")
    for one in findings:
        cells = (one.what, one.found, one.fix)
        table.add_row(f"[{one.level}]{one.level}[/]", *(escape(cell) for cell in cells))
    console.print(table)
    return {one.level for one in findings}
