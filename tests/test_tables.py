"""Tables in any usual form are read as the same text, and a wrong one is told by its row."""

import re
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.select import check_classes, read_ids
from engine.data.tables import read_table
from engine.errors import SonotuneError
from engine.spec.data import Data

ROWS = [{"case": "a", "age": "7"}, {"case": "b b", "age": ""}]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file_is_read_whatever_parts_its_cells(tmp_path: Path, separator: str, encoding: str) -> None:
    """Spaces around cells are no part of them, and lines without any cell no rows."""
    lines = [["case", " age"], ["a", " 7 "], [" ", ""], ["", ""], ["b b ", ""]]
    text = "\n".join(separator.join(line) for line in lines) + "\n\n"
    path = tmp_path / "t.csv"
    path.write_text(text, encoding=encoding)
    assert read_table(path) == ROWS


def test_the_header_says_what_parts_the_cells_whatever_these_hold(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case;age\na, b, c;7\n")
    assert read_table(tmp_path / "t.csv") == [{"case": "a, b, c", "age": "7"}]


def test_a_row_of_another_length_is_told_as_an_editor_counts_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,age\na,7\nb\n")
    with pytest.raises(SonotuneError, match="row 3 has 1 cell, the header has 2"):
        read_table(tmp_path / "t.csv")


def test_a_sheet_is_its_filled_part(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in [[None, None, None], ["case", "age", None], ["a", 7.0, " "], [None, None], ["b b", None]]:
        book.active.append(line)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx") == ROWS


@pytest.mark.parametrize("extent", [b"", b'<dimension ref="A1"/>', b'<dimension ref="A1:B2"/>'])
def test_a_sheet_that_says_nothing_or_too_little_of_its_extent_is_read_whole(
    tmp_path: Path, extent: bytes
) -> None:
    """As programs write it row by row: each row ends with its last cell."""
    book = openpyxl.Workbook()
    for line in [["case", "age"], ["a", 7], ["b b"]]:
        book.active.append(line)
    book.save(tmp_path / "whole.xlsx")
    with ZipFile(tmp_path / "whole.xlsx") as whole, ZipFile(tmp_path / "t.xlsx", "w") as other:
        for name in whole.namelist():
            other.writestr(name, re.sub(rb"<dimension[^>]*/>", extent, whole.read(name)))
    assert read_table(tmp_path / "t.xlsx") == ROWS


def test_columns_without_a_name_beside_a_table_are_not_its_own(tmp_path: Path) -> None:
    """A legend, written to the right of it in the same sheet."""
    book = openpyxl.Workbook()
    for line in [["case", "age", None, None, None], ["a", 7, None, "FA", "fibroadenoma"], ["b b", None]]:
        book.active.append(line)
    book.save(tmp_path / "t.xlsx")
    assert [{name: row[name] for name in ("case", "age")} for row in read_table(tmp_path / "t.xlsx")] == ROWS


@pytest.mark.parametrize("name", ["t.parquet", "T.PARQUET"])
def test_gaps_of_a_parquet_file_turn_no_count_into_a_fraction(tmp_path: Path, name: str) -> None:
    table = pa.table({"case": ["a", "b b"], "age": [7.0, float("nan")]})
    pq.write_table(table, tmp_path / name)
    assert read_table(tmp_path / name) == ROWS
    pq.write_table(pa.table({"case": ["a", "b b"], "age": pa.array([7, None])}), tmp_path / name)
    assert read_table(tmp_path / name) == ROWS
    pq.write_table(pa.table({"case": ["a"], "age": [7.5]}), tmp_path / name)
    assert read_table(tmp_path / name) == [{"case": "a", "age": "7.5"}]


def test_ids_stand_under_case_or_under_class_and_id(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("class,id\nbenign,12\nnormal,3\n")
    assert read_ids(path) == ["benign (12)", "normal (3)"]
    path.write_text("class,id,case\nbenign,12,own name\n")
    assert read_ids(path) == ["own name"]
    path.write_text("id\n12\n")
    with pytest.raises(SonotuneError, match="needs a column 'case', or the columns 'class' and 'id'"):
        read_ids(path)


def test_a_class_needs_a_case_for_each_part_of_a_fold() -> None:
    data = Data(source="phantom", classes=("benign", "malignant"))
    check_classes(["benign"] * 3 + ["malignant"] * 3, data)
    with pytest.raises(SonotuneError, match="but malignant has 2; leave"):
        check_classes(["benign"] * 3 + ["malignant"] * 2, data)
