"""`sonotune doctor`: can this machine, or this cluster, run a search?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.cli.options import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.doctor import Finding

UNFIT = 1


def doctor(
    run: Annotated[str, typer.Option(help="Where run folders will be: a folder or a URI.")] = "runs",
    address: Address = None,
) -> None:
    """Check versions, GPUs, memory and storage, and train a small fold; with --address on every node."""
    console = Console(soft_wrap=True, highlight=False)
    levels = {level for name, found in _examined(address, run) for level in _print(console, name, found)}
    if "red" in levels:
        raise typer.Exit(UNFIT)


def _examined(address: str | None, run: str) -> "Iterable[tuple[str, list[Finding]]]":
    if address:
        from engine.driver.examine import examine_cluster

        return examine_cluster(address, run)
    from engine.doctor import examine

    return [("this machine", examine(run))]


def _print(console: Console, name: str, findings: "list[Finding]") -> set[str]:
    table = Table("", "", "found", "what to do", box=None, title=escape(name), title_justify="left")
    for one in findings:
        cells = (one.what, one.found, one.fix)
        table.add_row(f"[{one.level}]{one.level}[/]", *(escape(cell) for cell in cells))
    console.print(table)
    return {one.level for one in findings}
