"""Tables that come with data sets: CSV with any usual separator, Parquet, Excel. All cells are text."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

from engine.data.files import reading
from engine.errors import SonotuneError, many
from engine.words import plural

Row = dict[str, str]
SEPARATORS = (",", ";", "\t")
LARGEST = 256 * 1024**2  # bytes, unpacked; the largest data sets have some thousand rows


def read_table(path: Path, needed: Iterable[str] = ()) -> list[Row]:
    """Rows as text by column name, spaces around cells removed; an empty cell is ''."""
    with reading(f"table {str(path)!r}"):
        return _table(path, list(needed))


def _table(path: Path, needed: list[str]) -> list[Row]:
    if not path.is_file():
        raise SonotuneError(f"table {str(path)!r} does not exist or is not a file")
    _check_size(path, path.stat().st_size)
    readers = {".parquet": _parquet, ".xlsx": _excel}
    names, lines = readers.get(path.suffix.lower(), _csv)(path)
    _check_names(path, names, needed)
    if not lines:
        raise SonotuneError(f"table {str(path)!r} has a header and no rows")
    return [dict(zip(names, line, strict=True)) for line in lines]


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST:
        raise SonotuneError(f"table {str(path)!r} has {size:,} bytes; at most {LARGEST:,} are read")


def _check_names(path: Path, names: list[str], needed: list[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        raise SonotuneError(
            f"table {str(path)!r} has no column {', '.join(map(repr, missing))};"
            f" it needs {', '.join(needed)} and has {', '.join(names) or 'none'}"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})  # nameless ones nobody reads
    if twice:
        raise SonotuneError(
            f"table {str(path)!r} has the column {', '.join(map(repr, twice))} more than once"
        )


def _csv(path: Path) -> tuple[list[str], list[list[str]]]:
    text = _text(path)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(SEPARATORS, key=header.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise SonotuneError(f"table {str(path)!r} is not a CSV file: {error}") from None
    full = [
        (number, line) for number, line in enumerate(lines, start=1) if any(cell.strip() for cell in line)
    ]
    if not full:
        raise SonotuneError(f"table {str(path)!r} is empty; a header and rows are needed")
    names, body = full[0][1], full[1:]
    uneven = [
        f"row {n} has {plural(len(line), 'cell')}, the header has {len(names)}"
        for n, line in body
        if len(line) != len(names)
    ]
    if uneven:
        raise many(f"table {str(path)!r}", uneven)
    return _trimmed([[cell.strip() for cell in line] for _, line in full])


def _trimmed(lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows without the empty columns that a spreadsheet leaves to the right, and with the cells
    that a sheet leaves out there."""
    width = max(index for line in lines for index, cell in enumerate(line, start=1) if cell)
    names, *body = [(line + [""] * width)[:width] for line in lines]
    return names, body


def _text(path: Path) -> str:
    data = path.read_bytes()
    if b"\0" in data:
        raise SonotuneError(
            f"table {str(path)!r} holds zero bytes: it is not a text file; save it as CSV in UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SonotuneError(
            f"table {str(path)!r} is not UTF-8 (byte {error.start} is {data[error.start]:#04x}); save it so"
        ) from None


def _parquet(path: Path) -> tuple[list[str], list[list[str]]]:
    import pyarrow as pa

    from engine.results import measured

    try:
        table = measured(path, str(path), LARGEST).read()
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise SonotuneError(
            f"table {str(path)!r} is not a Parquet file: {str(error).splitlines()[0]}"
        ) from None
    return list(table.column_names), [[_cell(value) for value in line] for line in zip(*columns, strict=True)]


def _excel(path: Path) -> tuple[list[str], list[list[str]]]:
    """The first sheet; rows without any cell are left out."""
    from openpyxl import load_workbook

    try:
        with ZipFile(path) as parts:
            _check_size(path, sum(part.file_size for part in parts.infolist()))
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its extent may be wrong, and would cut cells off
        lines = [[_cell(value) for value in line] for line in sheet.iter_rows(values_only=True)]
    except SonotuneError:
        raise
    except Exception as error:  # openpyxl lets zip, XML and key errors through
        raise SonotuneError(f"table {str(path)!r} is not an Excel file: {error}") from None
    lines = [line for line in lines if any(line)]
    if not lines:
        raise SonotuneError(f"table {str(path)!r} is empty; a header and rows are needed")
    return _trimmed(lines)


def _cell(value: object) -> str:
    """Excel and Parquet turn 7 into 7.0 where a column has gaps; a table of text must not."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
