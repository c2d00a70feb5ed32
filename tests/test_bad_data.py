# ruff: noqa: E501 (a table with a row per line)
"""Broken data ends in one message that names the file and the rule; `skip_broken` leaves the case out."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.decode import Broken, read_image, read_mask
from engine.data.load import load
from engine.errors import SonotuneError
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
from tests.layouts import HEIGHT, WIDTH, write

Break = Callable[[Path], object]
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
