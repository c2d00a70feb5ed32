"""The report as a person sees it in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from reports.build import Report
from reports.parts import nothing, sentences
from reports.tables import WORDS, Column, Row, Table, shown

ROWS = 20
LINES = 6
UNBOUND = 10_000
NARROW = ("rank", "config_id", "status", "validation_score_mean", "test_dice_mean", "test_refined_dice_mean",
          "test_f1_macro_mean", "test_refined_f1_macro_mean")  # fmt: skip


def console(report: Report, out: Console | None = None) -> None:
    """The leaderboard, what is wrong, the pick and why. Names come from anywhere, so they are escaped."""
    out = out or Console()
    board = next((t for t in report.tables if isinstance(t, Table) and t.name == "leaderboard"), None)
    if board and board.rows:
        out.print(fitting(board, out))
        if len(board.rows) > ROWS:
            out.print(f"… {len(board.rows) - ROWS} more in tables/leaderboard.csv")
    for warning in report.warnings:
        out.print(f"[yellow]![/] {escape(warning)}", highlight=False)
    pick = report.study.pick
    out.print(escape(pick.reason if pick else nothing(report.study)), highlight=False)
    for line in sentences(report.study)[:LINES] if pick else ():
        out.print(escape(line), highlight=False)


def fitting(board: Table, out: Console) -> Grid:
    """Figures are left out rather than cut: the last ones first, all of them are in the report."""
    keys = [column.key for column in board.columns if column.key in NARROW]
    while True:
        made, figures = grid(board, tuple(keys)), [key for key in keys if key.startswith("test_")]
        width = made.__rich_measure__(out, out.options.update(max_width=UNBOUND)).maximum
        if width <= out.width or len(figures) < 2:
            return made
        keys.remove(figures[-1])


def grid(table: Table, keys: tuple[str, ...] | None = None, rows: int | None = ROWS) -> Grid:
    columns = [c for c in table.columns if keys is None or c.key in keys]
    made = Grid(
        title=escape(table.title), title_justify="left", box=None, header_style="bold", pad_edge=False
    )
    for column in columns:
        left = column.kind in WORDS
        label = escape(column.label).replace(" ", "\n", 1)
        made.add_column(label, justify="left" if left else "right", no_wrap=True)
    ranks = table.ranks()
    for number, row in enumerate(table.rows[:rows]):
        made.add_row(*(_cell(column, row, ranks.get((number, column.key))) for column in columns))
    return made


def _cell(column: Column, row: Row, rank: str | None) -> str:
    text = escape(shown(column, row))
    style = {"best": "bold", "second": "underline"}.get(rank or "")
    return f"[{style}]{text}[/]" if style else text
