# ruff: noqa: E501 (a table with a row per line)
"""Broken data ends in one message that names the file and the rule; `skip_broken` leaves the case out."""

import contextlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data import tables
from engine.data.decode import Broken, read_image, read_mask
from engine.data.load import load
from engine.errors import SonotuneError
from engine.spec.data import Data
from tests import layouts
from tests.broken import (
    big_sixteen,
    cut,
    drop_row,
    flip_a_byte,
    grey,
    lines,
    link,
    link_folder,
    link_out,
    paint,
    png_header,
    put,
    ramp,
    repeat_row,
    swap,
    transparent,
    turned,
    two_frames,
)
from tests.layouts import HEIGHT, WIDTH, some_pictures

Break = Callable[[Path], object]
TWO = ("benign", "malignant")
IMAGE = "benign/benign (1).png"
MASK = "benign/benign (1)_mask.png"
NORMAL_MASK = "normal/normal (1)_mask.png"


# source, what is done to it, the rule, what the message names
CASES: dict[str, tuple[str, Break, str, str]] = {
    "truncated PNG": ("busi", lambda r: cut(r / IMAGE), "unreadable", "benign (1).png"),
    "PNG cut in its header": ("busi", lambda r: cut(r / IMAGE, 0.01), "unreadable", "benign (1).png"),
    "zero bytes": ("busi", lambda r: (r / IMAGE).write_bytes(b""), "no-bytes", "benign (1).png"),
    "zero bytes of mask": ("busi", lambda r: (r / MASK).write_bytes(b""), "no-bytes", "_mask.png"),
    "text named .png": ("busi", lambda r: (r / IMAGE).write_text("hello\n" * 9), "format", "benign (1).png"),
    "a GIF named .png": ("busi", lambda r: Image.fromarray(grey()).save(r / IMAGE, "GIF"), "format", "(1).png"),
    "65,535 × 65,535 header": (
        "busi", lambda r: (r / IMAGE).write_bytes(png_header(65_535, 65_535)), "too-large", "64,000,000",
    ),
    "65,535 × 65,535 mask": (
        "busi", lambda r: (r / MASK).write_bytes(png_header(65_535, 65_535)), "too-large", "_mask.png",
    ),
    "header without pixels": (
        "busi", lambda r: (r / IMAGE).write_bytes(png_header(300, 300)), "unreadable", "benign (1).png",
    ),
    "image of 0 × 0": ("busi", lambda r: (r / IMAGE).write_bytes(png_header(0, 0)), "", "benign (1).png"),
    "one pixel": ("busi", lambda r: put(r / IMAGE, grey()[:1, :1]), "too-small", "1×1"),
    "a flipped byte": ("busi", lambda r: flip_a_byte(r / IMAGE), "unreadable", "benign (1).png"),
    "truncated BMP": (
        "busi",
        lambda r: (put(r / "benign/benign (9).bmp", grey()), cut(r / "benign/benign (9).bmp")),
        "unreadable", "benign (9).bmp",
    ),
    "truncated JPEG": (
        "busi",
        lambda r: (put(r / "benign/benign (9).jpg", ramp(255)), cut(r / "benign/benign (9).jpg")),
        "unreadable", "benign (9).jpg",
    ),
    "truncated TIFF": (
        "busi",
        lambda r: (put(r / "benign/benign (9).tif", ramp(255)), cut(r / "benign/benign (9).tif")),
        "", "benign (9).tif",
    ),
    "two frames in one TIFF": ("busi", lambda r: two_frames(r / IMAGE), "frames", "2 frames"),
    "turned by EXIF": ("busi", lambda r: turned(r / IMAGE), "rotated", "orientation 6"),
    "floating point pixels": (
        "busi", lambda r: ((r / IMAGE).unlink(), big_sixteen((r / IMAGE).with_suffix(".tif"))), "depth", "(1).tif",
    ),
    "a strip that would be padded": ("padded", lambda r: strip(r), "too-large", "8001×8; data.aspect: pad would"),
    "a picture of one colour": ("busi", lambda r: put(r / IMAGE, grey(0)), "blank", "value 0"),
    "mask larger than image": ("busi", lambda r: put(r / MASK, np.eye(99, dtype=np.uint8)), "mask-size", "99×99"),
    "mask smaller than image": ("busi", lambda r: put(r / MASK, np.eye(9, dtype=np.uint8)), "mask-size", "9×9"),
    "mask turned by a quarter": (
        "busi", lambda r: put(r / MASK, np.eye(WIDTH, HEIGHT, dtype=np.uint8) * 255), "mask-size", "40×48",
    ),
    "second mask of another size": (
        "busi", lambda r: put(r / "benign/benign (1)_mask_1.png", np.eye(9, dtype=np.uint8)), "mask-size", "_mask_1",
    ),
    "mask without its image": ("busi", lambda r: (r / IMAGE).unlink(), "no-image", "benign (1)_mask.png"),
    "lesion without mask": ("busi", lambda r: (r / MASK).unlink(), "no-mask", "benign (1).png"),
    "empty lesion mask": ("busi", lambda r: put(r / MASK, grey(0)), "empty-mask", "labelled benign"),
    "lesion in a normal case": ("busi", lambda r: put(r / NORMAL_MASK, square()), "normal-lesion", "normal (1)_mask"),
    "mask of faint greys": ("busi", lambda r: put(r / MASK, ramp(100)), "mask-levels", "grey levels"),
    "image in the mask's place": (
        "busi", lambda r: (r / MASK).write_bytes((r / IMAGE).read_bytes()), "mask-levels", "as a picture is; a mask",
    ),
    "mask that is all lesion": ("busi", lambda r: put(r / MASK, grey(255)), "full-mask", "every pixel"),
    "mask in transparency only": ("busi", lambda r: transparent(r / MASK), "mask-transparency", "_mask.png"),
    "same name, two endings": ("busi", lambda r: put(r / "benign/benign (1).bmp", ramp(99)), "same-name", "benign (1)"),
    "same name, two classes": (
        "busi", lambda r: put(r / "malignant/benign (1).png", ramp(99)), "same-name", "as benign/benign (1).png has",
    ),
    "a name that is no text": (
        "busi", lambda r: os.rename(r / IMAGE, os.fsencode(r) + b"/benign/benign \xff.png"), "case-name", "\\udcff",
    ),
    "folder named .png": ("busi", lambda r: (r / "benign/benign (8).png").mkdir(), "not-a-file", "benign (8).png"),
    "pipe named .png": ("busi", lambda r: os.mkfifo(r / "benign/benign (8).png"), "not-a-file", "benign (8).png"),
    "link to nowhere": ("busi", lambda r: link(r / IMAGE, r / "nowhere.png"), "missing", "benign (1).png"),
    "link in a circle": ("busi", lambda r: link(r / IMAGE, r / IMAGE), "", "benign (1).png"),
    "symbolic link out of the folder": ("busi", lambda r: link_out(r, IMAGE), "outside", "benign (1).png"),
    "mask linked out of the folder": ("busi", lambda r: link_out(r, MASK), "outside", "_mask.png"),
    "link to a system file": ("busi", lambda r: link(r / IMAGE, Path("/etc/hostname")), "outside", "(1).png"),
    "two classes in one mask": (
        "bus_uclm",
        lambda r: paint(r / "masks/P000_000.png", (0, 255, 0), (255, 0, 0)),
        "mask-classes", "benign and malignant",
    ),
    "three lesions of three colours": (
        "bus_uclm",
        lambda r: paint(r / "masks/P000_000.png", (0, 255, 0), (255, 0, 0), (0, 0, 255)),
        "mask-colour", "(0, 0, 255)",
    ),
    "mask paints another class": (
        "bus_uclm", lambda r: paint(r / "masks/P000_000.png", (255, 0, 0)), "mask-label", "labelled benign",
    ),
    "image without a row": ("bus_uclm", lambda r: drop_row(r / "INFO.csv", 1), "no-label", "P000_000"),
    "row without an image": ("bus_uclm", lambda r: (r / "images/P000_000.png").unlink(), "no-image", "P000_000"),
    "painted mask missing": ("bus_uclm", lambda r: (r / "masks/P000_000.png").unlink(), "no-mask", "P000_000"),
    "normal mask missing": ("bus_uclm", lambda r: (r / "masks/P005_001.png").unlink(), "no-mask", "P005_001"),
    "two rows, two labels": (
        "bus_uclm", lambda r: lines(r / "INFO.csv", lambda t: [*t, "P000_000.png;No;Malignant\n"]), "two-labels", "P000",
    ),
    "unknown label": ("bus_uclm", lambda r: swap(r / "INFO.csv", "Benign", "Cyst", 1), "label", "'cyst'"),
    "official fold left out": (
        "bus_bra", lambda r: swap(r / "5-fold-cv.csv", "benign,2", "benign,9", 1), "fold", "fold 9",
    ),
    "official fold is a word": (
        "bus_bra", lambda r: swap(r / "5-fold-cv.csv", "benign,2", "benign,two", 1), "fold", "'two'",
    ),
    "BUS-BRA rows of two labels": (
        "bus_bra",
        lambda r: lines(r / "bus_data.csv", lambda t: [*t, t[1].replace("benign", "malignant")]),
        "two-labels", "benign of patient 1 and malignant of patient 1",
    ),
    "BUS-BRA rows of two patients": (
        "bus_bra", lambda r: lines(r / "bus_data.csv", lambda t: [*t, t[1].replace(",1,", ",9,")]), "two-labels",
        "patient 9",
    ),
    "BUS-BRA rows of two folds": (
        "bus_bra", lambda r: lines(r / "5-fold-cv.csv", lambda t: [*t, t[1].replace(",2,", ",3,")]), "fold", "2 and 3",
    ),
    "no row in bus_data.csv": ("bus_bra", lambda r: drop_row(r / "bus_data.csv", 1), "no-label", "bus_0001-l"),
    "image of a row missing": ("bus_bra", lambda r: (r / "Images/bus_0001-l.png").unlink(), "no-image", "bus_0001-l"),
    "BUS-BRA mask missing": ("bus_bra", lambda r: (r / "Masks/mask_0001-l.png").unlink(), "no-mask", "bus_0001-l"),
    "row without UDIAT image": ("udiat", lambda r: (r / "original/000001.png").unlink(), "no-image", "000001"),
    "UDIAT image without label": ("udiat", lambda r: put(r / "original/000099.png", ramp(99)), "no-label", "000099"),
    "UDIAT mask missing": ("udiat", lambda r: (r / "GT/000001.png").unlink(), "no-mask", "000001"),
    "label not in classes": ("manifest", lambda r: swap(r / "cases.csv", "benign", "cyst", 1), "label", "'cyst'"),
    "label in capitals": ("manifest", lambda r: swap(r / "cases.csv", "benign", "Benign", 1), "label", "'Benign'"),
    "empty label": ("manifest", lambda r: swap(r / "cases.csv", "benign", "", 1), "label", "''"),
    "a row per lesion": ("manifest", lambda r: repeat_row(r / "cases.csv", 1), "same-name", "one row, '|' between"),
    "paths of Windows": (
        "manifest", lambda r: swap(r / "cases.csv", "pictures/0", "pictures\\0"), "missing", "parted by '/' here",
    ),
    "duplicate ids": ("manifest", lambda r: repeat_row(r / "cases.csv", 1), "same-name", "c0"),
    "manifest with ../": ("manifest", lambda r: swap(r / "cases.csv", "pictures/0", "../0"), "outside", "'../0.png'"),
    "../ that comes back": (
        "manifest", lambda r: swap(r / "cases.csv", "pictures/0.", "pictures/../pictures/0."), "outside", "row 2",
    ),
    "absolute path": ("manifest", lambda r: swap(r / "cases.csv", "pictures/0", "/etc/0"), "outside", "'/etc/0.png'"),
    "backslashes upwards": (
        "manifest", lambda r: swap(r / "cases.csv", "outlines/0", "..\\..\\0"), "outside", "row 2",
    ),
    "second mask outside": (
        "manifest", lambda r: swap(r / "cases.csv", "outlines/0.png", "outlines/0.png|../1.png"), "outside", "row 2",
    ),
    "manifest link out of the folder": ("manifest", lambda r: link_out(r, "pictures/0.png"), "outside", "0.png"),
    "linked folder": ("manifest", lambda r: link_folder(r), "outside", "linked/0.png"),
    "image that is not there": ("manifest", lambda r: (r / "pictures/0.png").unlink(), "missing", "pictures/0.png"),
    "ending in capitals": (
        "manifest", lambda r: (r / "pictures/0.png").rename(r / "pictures/0.PNG"), "missing", "no such file, but '0.PNG'",
    ),
    "accents as Macs code them": (
        "manifest",
        lambda r: (swap(r / "cases.csv", "pictures/0", "pictures/é"), (r / "pictures/0.png").rename(r / "pictures/e\u0301.png")),
        "missing", "accents are coded otherwise (Unicode's NFD)",
    ),
    "mask that is not there": ("manifest", lambda r: (r / "outlines/0.png").unlink(), "missing", "outlines/0.png"),
    "image as its own mask": (
        "manifest", lambda r: swap(r / "cases.csv", "outlines/0.png", "pictures/0.png"), "no-mask", "both image and mask",
    ),
    "mask cell empty": ("manifest", lambda r: swap(r / "cases.csv", "outlines/0.png", ""), "no-mask", "0.png"),
    "image path of 5,000 letters": (
        "manifest", lambda r: swap(r / "cases.csv", "pictures/0", "p" * 5000), "unreadable", "pppp",
    ),
    "image cell empty": ("manifest", lambda r: swap(r / "cases.csv", "pictures/0.png", ""), "no-image", "row 2"),
    "fold number out of range": ("manifest", lambda r: swap(r / "cases.csv", "p0,1", "p0,7", 1), "fold", "fold 7"),
    "fold of minus one": ("manifest", lambda r: swap(r / "cases.csv", "p0,1", "p0,-1", 1), "fold", "'-1'"),
    "fold of one and a half": ("manifest", lambda r: swap(r / "cases.csv", "p0,1", "p0,1.5", 1), "fold", "'1.5'"),
    "negative spacing": ("manifest", lambda r: swap(r / "cases.csv", ",0.1", ",-0.1", 1), "spacing", "'-0.1'"),
    "spacing in another unit": ("manifest", lambda r: swap(r / "cases.csv", ",0.1", ",100", 1), "spacing", "'100'"),
    "spacing not a number": ("manifest", lambda r: swap(r / "cases.csv", ",0.1", ",nan", 1), "spacing", "'nan'"),
    "case name with a slash": ("manifest", lambda r: swap(r / "cases.csv", ",c0,", ",../c0,"), "case-name", "../c0"),
    "case name of 300 letters": (
        "manifest", lambda r: swap(r / "cases.csv", ",c0,", f",{'c' * 300},"), "case-name", "1 to 200",
    ),
}  # fmt: skip


def square() -> np.ndarray:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[10:20, 10:20] = 255
    return drawn


def strip(root: Path) -> None:
    for name in (IMAGE, MASK):
        put(root / name, np.tile(np.repeat(np.uint8([0, 255]), 4001)[:8001], (8, 1)))


def more(index: int) -> dict[str, object]:
    return {"case": f"c{index}", "patient": f"p{index // 3}", "fold": index % 2, "spacing": 0.1}


def write(source: str, root: Path) -> Data:
    """A sound data set of the source, ten cases of each class."""
    classes = TWO if source in ("udiat", "bus_bra") else layouts.CLASSES
    if source == "padded":
        return write("busi", root).model_copy(update={"aspect": "pad"})
    pictures = some_pictures(4 if source != "bus_bra" else 10, classes)
    place = root
    if source == "manifest":
        place = layouts.write_manifest(root, pictures, more)
    else:
        getattr(layouts, f"write_{source}")(root, pictures)
    return Data.model_validate({"source": source, "root": str(place), "classes": classes, "size": 16})


@pytest.mark.parametrize("name", CASES)
def test_a_broken_case_is_refused_by_name_and_left_out_on_request(name: str, tmp_path: Path) -> None:
    source, damage, rule, named = CASES[name]
    data = write(source, tmp_path / "data")
    sound = len(load(data, tmp_path / "sound"))
    damage(tmp_path / "data")
    with pytest.raises(SonotuneError) as refused:
        load(data, tmp_path / "cache")
    assert rule in str(refused.value)
    assert named in str(refused.value)
    assert "--skip-broken" in str(refused.value)
    assert not (tmp_path / "cache").exists()
    pack = load(data.model_copy(update={"skip_broken": True}), tmp_path / "cache")
    assert sound - 2 <= len(pack) <= sound
    assert any(named in note and rule in note for note in pack.notes)


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


def test_all_broken_cases_are_told_at_once(tmp_path: Path) -> None:
    data = write("busi", tmp_path / "data")
    for number in (1, 2, 3):
        (tmp_path / "data" / "benign" / f"benign ({number}).png").write_bytes(b"")
    with pytest.raises(SonotuneError) as refused:
        load(data, tmp_path / "cache")
    assert all(f"benign ({number}).png" in str(refused.value) for number in (1, 2, 3))


def test_several_lesions_of_one_class_in_one_mask_are_no_mistake(tmp_path: Path) -> None:
    data = write("bus_uclm", tmp_path / "data")
    paint(tmp_path / "data" / "masks" / "P000_000.png", (0, 255, 0), (0, 255, 0), (0, 255, 0))
    assert len(load(data, tmp_path / "cache")) == 12


def test_bytes_turned_at_random_never_raise_anything_but_broken(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for ending in ("png", "bmp", "jpg", "tif"):
        path = tmp_path / f"a.{ending}"
        put(path, ramp(255))
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            places = generator.integers(0, min(len(whole), 400), 6)
            damaged[places] = generator.integers(0, 256, 6)
            path.write_bytes(damaged.tobytes())
            with contextlib.suppress(Broken):
                assert read_image(path).dtype == np.uint8
            with contextlib.suppress(Broken):
                assert read_mask(path).pixels.max() <= 1


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
