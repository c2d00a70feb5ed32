"""The layouts that `data.source` names."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.data.cases import Found
from engine.data.sources import busi
from engine.spec.data import Data


@dataclass(frozen=True)
class Row:
    """One layout; `phantom` has none, because it is generated."""

    name: str
    find: Callable[[Data], Found]
    layout: str


SOURCES: dict[str, Row] = {row.name: row for row in (Row("busi", busi.find, busi.LAYOUT),)}
