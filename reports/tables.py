"""A table as the report shows it. Its CSV keeps every key of its rows in full precision."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

Kind = Literal["text", "word", "id", "status", "number", "count", "percent", "p", "seconds"]
Row = Mapping[str, Any]
WORDS: tuple[Kind, ...] = ("text", "word", "id", "status")  # left-aligned; only text may break over lines


@dataclass(frozen=True)
class Column:
    """`spread` names the key that stands behind ±; `better` marks the best and the second of a column."""

    key: str
    label: str
    kind: Kind = "number"
    spread: str | None = None
    reach: tuple[str, str] | None = None  # keys of an interval shown behind the value
    better: Literal["high", "low"] | None = None
    digits: int = 3


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    note: str = ""
    marks: Mapping[tuple[int, str], str] = field(default_factory=dict)  # (row, key) -> a word of emphasis
    unranked: frozenset[int] = frozenset()  # rows that are neither best nor second
    wide: bool = False
    filters: bool = False

    def csv(self) -> bytes:
        keys = list(dict.fromkeys(key for row in self.rows for key in row)) or [c.key for c in self.columns]
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(keys)
        writer.writerows([_plain(row.get(key)) for key in keys] for row in self.rows)
        return sink.getvalue().encode()

    def ranks(self) -> dict[tuple[int, str], str]:
        """Which cells hold the best and the second value of their column."""
        found: dict[tuple[int, str], str] = {}
        for column in self.columns:
            if column.better and len(self.rows) > 1:
                found |= _ranked(column, self.rows, self.unranked)
        return found


@dataclass(frozen=True)
class Sheet:
    """A long table for programs: never shown, written by Arrow."""

    name: str
    content: pa.Table

    def csv(self) -> bytes:
        """Undefined is empty, as in the other tables."""
        columns = [_known(column) for column in self.content.columns]
        sink = io.BytesIO()
        arrow_csv.write_csv(pa.table(columns, names=self.content.column_names), sink)
        return sink.getvalue()


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _ranked(column: Column, rows: Sequence[Row], unranked: frozenset[int]) -> dict[tuple[int, str], str]:
    values = {n: float(row[column.key]) for n, row in enumerate(rows)
              if n not in unranked and _finite(row.get(column.key))}  # fmt: skip
    if len(values) < 2:
        return {}  # nothing that it could be better than
    levels = sorted(set(values.values()), reverse=column.better == "high")[:2]
    names = dict(zip(levels, ("best", "second"), strict=False))
    return {(n, column.key): names[value] for n, value in values.items() if value in names}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """Spreadsheets run cells that begin like a formula, and names come from anywhere."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))  # numpy's says which kind of float it is
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def shown(column: Column, row: Row) -> str:
    """A cell as people read it."""
    value = row.get(column.key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) or column.kind in WORDS:
        return str(value)
    text = formatted(column, value)
    ends = [row.get(key) for key in column.reach or ()]
    if ends and all(map(_finite, ends)):
        return f"{text} [{', '.join(formatted(column, end) for end in ends)}]"
    spread = row.get(column.spread, math.nan) if column.spread else math.nan
    return f"{text} ± {formatted(column, spread)}" if _finite(spread) else text


def formatted(column: Column, value: Any) -> str:
    return FORMATS.get(column.kind, number)(float(value), column.digits)


def _count(value: float, digits: int) -> str:
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= (size if unit == " k" else 0.9995 * size):  # 999,600 reads 1 M, not 1e+03 k
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}"


def _seconds(value: float, digits: int) -> str:
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    return f"{value / 60:.1f} min" if value >= 60 else f"{value:.1f} s"


def _p(value: float, digits: int) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def number(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:z.{digits}f}".replace("-", "−")  # z: no −0.000


FORMATS = {
    "number": number, "count": _count, "seconds": _seconds, "p": _p,
    "percent": lambda value, digits: f"{100 * value:.1f} %",
}  # fmt: skip
