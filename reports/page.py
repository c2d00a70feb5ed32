"""Renders a report as one HTML file that needs nothing else, and as Markdown."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reports.draw import Figure
from reports.sections import Section
from reports.tables import Column, Row, Table, shown

TEMPLATES = resources.files("reports") / "templates"


def render(
    title: str,
    subtitle: str,
    warnings: Sequence[str],
    sections: Sequence[Section],
    picked: str = "",
    live: float | None = None,
) -> bytes:
    """`live`: seconds after which the page loads itself again while a run goes on."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "kind": kind,
        "cell": cell,
        "dressed": dressed,
        "sort_value": sort_value,
        "limit": limit,
        "marked": marked,
    }
    script, style = _text("page.js"), _text("page.css")
    page = environment.from_string(_text("page.html")).render(
        title=title, subtitle=subtitle, warnings=warnings, sections=sections, live=live, picked=picked,
        style=Markup(style), script=Markup(script), policy=policy(script, style),
    )  # fmt: skip
    return page.encode()


def policy(script: str, style: str) -> str:
    """Only this page's own script runs, and nothing is fetched from anywhere. Drawings carry style
    attributes, which is why those are allowed; a style cannot run anything."""
    return (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; "
        f"style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


PAGE_ROWS = 1500


def limit(table: Table) -> int:
    """Rows on the page, so that a large study's page stays quick to open."""
    return max(1, min(PAGE_ROWS, 24_000 // max(1, len(table.columns))))


def marked(table: Table, row: Row, picked: str) -> bool:
    """The pick stands out where it stands among others."""
    return (
        bool(picked) and row.get("config_id") == picked and any(c.key == "config_id" for c in table.columns)
    )


def kind(block: Any) -> str:
    return type(block).__name__.lower()


def cell(table: Table, number: int, column: Column, row: Row, ranks: dict[tuple[int, str], str]) -> str:
    """The classes of a cell."""
    words = [column.kind, ranks.get((number, column.key), ""), table.marks.get((number, column.key), "")]
    if column.kind == "status":
        words.append(f"is-{row.get(column.key)}")
    return " ".join(word for word in words if word)


def dressed(column: Column, row: Row) -> str:
    """A cell whose spread or interval stands back behind its value."""
    text = shown(column, row)
    value, mark, rest = text.partition(" ± " if column.spread else " [")
    if not mark or not (column.spread or column.reach):
        return text
    return Markup("{}<span>{}</span>").format(value, mark + rest)


def sort_value(column: Column, row: Row) -> str:
    value = row.get(column.key)
    if isinstance(value, float) and value != value:
        return ""
    return "" if value is None else str(value)


def markdown(title: str, subtitle: str, warnings: Sequence[str], sections: Sequence[Section]) -> bytes:
    lines = [f"# {_md(title)}", "", _md(subtitle), ""]
    lines += [f"> **Warning:** {_md(warning)}  " for warning in warnings]
    for section in sections:
        lines += ["", f"## {_md(section.title)}", ""]
        for block in section.blocks:
            lines += _markdown_block(block)
    return ("\n".join(lines).rstrip() + "\n").encode()


def _markdown_block(block: Any) -> list[str]:
    if isinstance(block, Table):
        return [*_markdown_table(block), ""]
    if isinstance(block, Figure):
        title = _md(block.title)
        return [f"![{title}](figures/{block.name}.svg)", "", f"*{title}.* {_md(block.note)}".rstrip(), ""]
    if kind(block) == "text":
        return [_md(block.text), ""]
    if kind(block) == "facts":
        return [*(f"- {_md(name)}: {_md(value)}" for name, value in block.rows), ""]
    if kind(block) == "headlines":
        return [
            *(
                f"- **{_md(h.label)}**: {h.value} {h.spread}".rstrip() + f". {_md(h.note)}"
                for h in block.rows
            ),
            "",
        ]
    if kind(block) == "gallery":
        told = [f"- {_md(tile.title)}: {_md(tile.caption)}" for tile in block.tiles]
        return ["The pictures are on the [page](index.html#gallery):", "", *told, ""]
    if kind(block) == "code":
        fence = "`" * max(3, 1 + _longest_run(block.text))
        return [fence, block.text.rstrip(), fence, ""]
    return []


MARKDOWN_ROWS = 50


def _markdown_table(table: Table) -> list[str]:
    ranks = table.ranks()
    lines = [f"**{_md(table.title)}** ([CSV](tables/{table.name}.csv))", ""]
    lines += ["| " + " | ".join(_md(c.label) for c in table.columns) + " |"]
    lines += ["| " + " | ".join("---" for _ in table.columns) + " |"]
    for number, row in enumerate(table.rows[:MARKDOWN_ROWS]):
        cells = [_bold(_md(shown(c, row)), ranks.get((number, c.key))) for c in table.columns]
        lines.append("| " + " | ".join(cells) + " |")
    if len(table.rows) > MARKDOWN_ROWS:
        lines += ["", f"More rows are in the CSV: {len(table.rows) - MARKDOWN_ROWS}."]
    return [*lines, "", _md(table.note)] if table.note else lines


def _bold(text: str, rank: str | None) -> str:
    return f"**{text}**" if rank == "best" else text


def _md(text: str) -> str:
    """Names come from anywhere: no HTML, no table breaks, no links of theirs; two paths below ~ strike
    nothing out, two dollars are no formula."""
    for letter in "\\`*_[]<>|#~$&":
        text = text.replace(letter, "\\" + letter)
    return " ".join(text.split())


def _longest_run(text: str) -> int:
    longest = run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    return longest
