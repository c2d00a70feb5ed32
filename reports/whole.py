"""Tables that are printed whole: no figure may lose its end in a narrow terminal, a pipe or a log."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 1000


def print_whole(table: Table, console: Console | None = None) -> None:
    console = console or Console()
    wide = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    console.width = max(console.width, wide)
    console.print(table, crop=False)
