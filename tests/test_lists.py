"""Tables that people keep beside a data set: which cases to keep, which belong together, who tests whom.
A spreadsheet has been at them: what does not fit is told with how both sides write it."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine.data.load import load
from engine.data.tables import read_table
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.spec.data import Data
from engine.spec.folds import Folds
from tests import layouts
from tests.layouts import some_pictures


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Twelve cases, named 001 to 012."""
    table = layouts.write_manifest(tmp_path, some_pictures(4), lambda index: {"case": f"{index + 1:03d}"})
    return Data(source="manifest", root=str(table), size=16)


def table(folder: Path, header: str, rows: Iterable[str]) -> str:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *rows]))
    return str(path)


def refused(data: Data, tmp_path: Path, **settings: object) -> str:
    with pytest.raises(SonotuneError) as error:
        load(data.model_copy(update=settings), tmp_path / "cache")
    return str(error.value)


def test_names_that_no_case_has_are_told_of_a_file_of_groups(data: Data, tmp_path: Path) -> None:
    groups = table(tmp_path, "case,group", ["001,a", "002,a", "3,b", "4,b"])
    pack = load(data.model_copy(update={"groups": groups}), tmp_path / "cache")
    assert pack.groups[:4] == ("a", "a", None, None)
    assert "data.groups names 2 cases not used here, such as '3'" in pack.notes


def test_a_group_of_one_is_no_duplicate(data: Data, tmp_path: Path) -> None:
    groups = table(tmp_path, "case,group", ["001,a", "002,a", "003,b", "004,b2", "005,c"])
    pack = load(data.model_copy(update={"groups": groups}), tmp_path / "cache")
    assert pack.notes == ("2 of 12 cases are duplicates of others, in 1 group",)


def test_a_file_of_groups_that_knows_no_case_is_answered_with_both_ways_to_write_them(
    data: Data, tmp_path: Path
) -> None:
    told = refused(data, tmp_path, groups=table(tmp_path, "case,group", ["1,a", "2,a"]))
    assert "named like '001', those of the file like '1'" in told


@pytest.mark.parametrize("groups", ["Found", "x" * 300])
def test_a_misspelt_word_for_groups_is_answered_with_the_words_there_are(
    groups: str, data: Data, tmp_path: Path
) -> None:
    assert "data.groups must be found, none, or a table of groups" in refused(data, tmp_path, groups=groups)


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        (
            "case",
            ["1", "2"],
            "names 2 cases unknown to data.root, such as '1'; its cases are named like '001'",
        ),
        ("Case", ["001"], "needs a column 'case', or the columns 'class' and 'id'; it has Case"),
    ],
)
def test_ids_that_fit_no_case_are_told(
    header: str, rows: list[str], said: str, data: Data, tmp_path: Path
) -> None:
    ids = table(tmp_path, header, rows)
    told = refused(data, tmp_path, keep="curated", ids=ids)
    assert told.startswith("data.ids")
    assert said in told


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([f"{n + 1},{n % 3}" for n in range(12)], {}, "(it names 1, 10, 11, 12"),
        ([f"{n + 1:03d},7" for n in range(12)], {}, "at least 2, got fold 7 for each case"),
        (
            [f"{n + 1:03d},{n % 3}" for n in range(12)],
            {"repeats": 2},
            "got folds.repeats=2; leave repeats out",
        ),
        ([f"{n + 1:03d},{n // 4}" for n in range(12)], {}, "unsound (mend folds.from: "),
    ],
)
def test_folds_that_cannot_be_used_are_told_with_their_file(
    rows: list[str], more: dict[str, object], said: str, data: Data, tmp_path: Path
) -> None:
    path = table(tmp_path, "case,fold", rows)
    with pytest.raises(SonotuneError) as error:
        make_folds(load(data, tmp_path / "cache"), Folds.model_validate({"from": path} | more))
    assert said in str(error.value)
    assert f"folds.from: {path}" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "case,group,,\n001,a,,\n002,a,,\n",
        "\r\n\r\ncase;group\r\n001;a\r\n002;a",
        ";\ncase;group\n001;a\n002;a",
    ],
)
def test_what_a_spreadsheet_leaves_around_a_table_is_no_part_of_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, newline="")
    assert read_table(path) == [{"case": "001", "group": "a"}, {"case": "002", "group": "a"}]


def test_a_table_that_is_wrong_in_every_row_fills_no_screen(tmp_path: Path) -> None:
    path = table(tmp_path, "case,fold", ["a,1,2"] * 900)
    with pytest.raises(SonotuneError, match="900 problems") as error:
        read_table(Path(path))
    assert "and 850 more" in str(error.value)
    assert str(error.value).count("\n") == 51


def test_columns_of_a_manifest_that_nobody_reads_are_told(tmp_path: Path) -> None:
    root = layouts.write_manifest(tmp_path, some_pictures(4), lambda index: {"Patient": index // 2})
    data = Data(source="manifest", root=str(root), size=16)
    assert any("not read: Patient;" in note for note in load(data, tmp_path / "cache").notes)
    root.write_text(root.read_text().replace("Patient", "Age"))
    assert any("not read: Age;" in note for note in load(data, tmp_path / "cache").notes)
