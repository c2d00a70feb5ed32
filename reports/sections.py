"""A report as data: sections of blocks, drawn by the page and by the Markdown writer alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reports.draw import Figure
from reports.tables import Sheet, Table


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values, such as the provenance."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Something to copy: the picked YAML, a command."""

    name: str
    label: str
    text: str


@dataclass(frozen=True)
class Tile:
    """One case of the gallery: pictures (data URIs) under their names, and what is told of it as a row."""

    title: str
    caption: str
    pictures: Sequence[tuple[str, str]]
    row: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Headline:
    """A main figure of the pick: its value as selected, and what is left of it once choosing is paid for."""

    label: str
    value: str
    spread: str
    note: str


@dataclass(frozen=True)
class Headlines:
    rows: Sequence[Headline]


Block = Text | Facts | Code | Gallery | Headlines | Table | Figure


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    blocks: Sequence[Block]
    data: Sequence[Table | Sheet] = ()  # tables behind the drawings, as CSV only

    @property
    def shown(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def tables(self) -> list[Table | Sheet]:
        return [*self.shown, *self.data]

    @property
    def figures(self) -> list[Figure]:
        return [block for block in self.blocks if isinstance(block, Figure)]
