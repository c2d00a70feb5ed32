"""The layouts that `data.source` names."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.data.cases import Found
from engine.data.sources import bus_bra, bus_uclm, busi, manifest, udiat
from engine.spec.data import Data


@dataclass(frozen=True)
class Row:
    """One layout on disk; `phantom` has none, because it is generated."""

    name: str
    find: Callable[[Data], Found]
    layout: str  # what a user is told to expect


SOURCES: dict[str, Row] = {
    row.name: row
    for row in (
        Row("busi", busi.find, busi.LAYOUT),
        Row("bus_uclm", bus_uclm.find, bus_uclm.LAYOUT),
        Row("udiat", udiat.find, udiat.LAYOUT),
        Row("bus_bra", bus_bra.find, bus_bra.LAYOUT),
        Row("manifest", manifest.find, manifest.LAYOUT),
    )
}
