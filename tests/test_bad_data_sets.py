# ruff: noqa: E501 (a table with a row per line)
"""A data set that cannot be read as a whole is refused in one message that names what is wrong with it."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data import tables
from engine.data.load import load
from engine.errors import SonotuneError
from tests.broken import cut, swap
from tests.layouts import write

Break = Callable[[Path], object]


def only(root: Path, label: str, count: int) -> None:
    for path in root.glob(f"{label}/*"):
        if int(path.name.split("(")[1].split(")")[0]) > count:
            path.unlink()


def write_text(text: str | bytes) -> Break:
    data = text.encode() if isinstance(text, str) else text
    return lambda root: (root / "cases.csv").write_bytes(data)


def deeper(root: Path, names: str) -> None:
    """As an archive unpacks that has a folder of its own."""
    aside = root.rename(root.parent / "aside")
    (root / names).parent.mkdir(parents=True)
    aside.rename(root / names)


# source, what is done to it, settings, what the message says
WHOLE: dict[str, tuple[str, Break, dict[str, object], str]] = {
    "no such folder": ("busi", lambda r: r.rename(r.parent / "gone"), {}, "does not exist"),
    "a file, not a folder": ("busi", lambda r: None, {"root": __file__}, "is not a folder"),
    "an archive": ("busi", lambda r: (r / "d.zip").write_bytes(b"PK"), {"root": "d.zip"}, "unpack it and give its folder"),
    "a folder in a folder": ("busi", lambda r: deeper(r, "with_GT"), {}, "with_GT' does: give that as data.root"),
    "a folder two folders down": ("bus_bra", lambda r: deeper(r, "a/b"), {}, "data/a/b' does: give that as data.root"),
    "a folder of pictures": ("busi", lambda r: None, {"root": "benign"}, "data' does: give that as data.root"),
    "what Macs pack beside": ("busi", lambda r: deeper(r, "__MACOSX"), {}, "no folder 'benign'; expected"),
    "folder in lower case": ("udiat", lambda r: (r / "GT").rename(r / "gt"), {}, "no folder 'GT', but 'gt': rename it"),
    "class folder missing": ("busi", lambda r: (r / "normal").rename(r / "healthy"), {}, "data.classes names the"),
    "one class with one case": ("busi", lambda r: only(r, "benign", 1), {}, "benign has 1"),
    "a class without a case": ("busi", lambda r: only(r, "normal", 0), {}, "normal has 0"),
    "ids of other cases": (
        "busi", lambda r: (r / "i.csv").write_text("class;id\nbenign;77\n"), {"ids": "i.csv"}, "'benign (77)'",
    ),
    "ids without the columns": (
        "busi", lambda r: (r / "i.csv").write_text("name\nbenign\n"), {"ids": "i.csv"}, "needs a column 'case'",
    ),
    "no file of ids": ("busi", lambda r: None, {"ids": "i.csv"}, "does not exist"),
    "no INFO.csv": ("bus_uclm", lambda r: (r / "INFO.csv").unlink(), {}, "INFO.csv"),
    "no masks folder": ("bus_uclm", lambda r: (r / "masks").rename(r / "m"), {}, "no folder 'masks'"),
    "missing column": ("bus_uclm", lambda r: swap(r / "INFO.csv", "Label", "Class"), {}, "no column 'Label'"),
    "no labels at all": ("udiat", lambda r: (r / "DatasetB.xlsx").unlink(), {}, "says nowhere"),
    "Excel file that is text": ("udiat", lambda r: (r / "DatasetB.xlsx").write_text("x"), {}, "not an Excel file"),
    "cut Excel file": ("udiat", lambda r: cut(r / "DatasetB.xlsx"), {}, "not an Excel file"),
    "no bus_data.csv": ("bus_bra", lambda r: (r / "bus_data.csv").unlink(), {}, "bus_data.csv"),
    "manifest without the column": ("manifest", lambda r: swap(r / "cases.csv", "mask", "outline", 1), {}, "'mask'"),
    "column named twice": ("manifest", lambda r: swap(r / "cases.csv", "patient", "label", 1), {}, "more than once"),
    "CSV in Latin-1": ("manifest", write_text("image,mask,label\nbößartig,b,c\n".encode("latin-1")), {}, "not UTF-8"),
    "CSV in UTF-16": ("manifest", write_text("image,mask,label\na,b,c\n".encode("utf-16")), {}, "zero bytes"),
    "empty CSV": ("manifest", write_text(""), {}, "is empty"),
    "header without rows": ("manifest", write_text("image,mask,label\n"), {}, "no rows"),
    "uneven row": ("manifest", write_text("image,mask,label\na,b\n"), {}, "row 2 has 2 cells"),
    "open quote": ("manifest", write_text('image,mask,label\n"a,b,c\n'), {}, "not a CSV"),
    "manifest is a folder": ("manifest", lambda r: None, {"root": "."}, "is not a file"),
    "manifest is not there": ("manifest", lambda r: (r / "cases.csv").unlink(), {}, "is not a file"),
    "Parquet that is text": (
        "manifest", lambda r: (r / "t.parquet").write_text("x" * 99), {"root": "t.parquet"}, "not a Parquet file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_data_set_that_cannot_be_read_is_refused_in_one_message(name: str, tmp_path: Path) -> None:
    source, damage, settings, said = WHOLE[name]
    data = write(source, tmp_path / "data")
    damage(tmp_path / "data")
    settings = {key: str(tmp_path / "data" / str(value)) for key, value in settings.items()}
    if "ids" in settings:
        settings["keep"] = "curated"
    for skip in (False, True):
        with pytest.raises(SonotuneError) as refused:
            load(data.model_copy(update={**settings, "skip_broken": skip}), tmp_path / "cache")
        assert said in str(refused.value)
    assert not (tmp_path / "cache").exists()


def test_a_relative_root_is_told_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on from another folder than it began in."""
    data = write("busi", tmp_path / "data").model_copy(update={"root": "data"})
    monkeypatch.chdir(tmp_path)
    load(data, tmp_path / "cache")
    monkeypatch.chdir("/")
    with pytest.raises(SonotuneError, match="'data' does not exist in /, from where it was looked for"):
        load(data, tmp_path / "cache")


def test_a_workbook_that_unpacks_to_too_much_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LARGEST", 2 * 1024**2)
    path = tmp_path / "bomb.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts,
        parts.open("xl/worksheets/sheet1.xml", "w") as sheet,
    ):
        for _ in range(3):
            sheet.write(bytes(1024**2))
    with pytest.raises(SonotuneError, match="at most"):
        tables.read_table(path)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    data = write("busi", tmp_path / "data")
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(SonotuneError, match=r"cannot (read|write)"):
        load(data, tmp_path / "cache")
