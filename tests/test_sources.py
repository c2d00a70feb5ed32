"""Each layout is read for what it says: labels, patients, folds, spacing, and masks in all their forms."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine.data.cases import Pack
from engine.data.load import load
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.spec.data import Data
from engine.spec.folds import Folds
from tests import layouts
from tests.layouts import HEIGHT, WIDTH, some_pictures

TWO = ("benign", "malignant")


def packed(cache: Path, source: str, root: Path | str, **settings: object) -> Pack:
    data = Data.model_validate({"source": source, "root": str(root), "size": 16, **settings})
    return load(data, cache / "cache")


def labels_of(pack: Pack) -> list[str]:
    return [pack.classes[label] for label in pack.labels]


def test_busi_is_read_in_natural_order_with_its_labels(tmp_path: Path) -> None:
    pictures = some_pictures(11)
    pack = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "d", pictures))
    assert pack.cases[:3] == ("benign (1)", "benign (2)", "benign (3)")
    assert pack.cases[9] == "benign (10)"
    assert labels_of(pack) == [picture.label for picture in pictures]
    assert (pack.sizes == [HEIGHT, WIDTH]).all()
    assert pack.patients == (None,) * 33


def test_names_that_differ_in_leading_zeros_only_have_one_order(tmp_path: Path) -> None:
    pictures = some_pictures()
    names = [f"c{'0' * (index % 3)}{index // 3}" for index in range(len(pictures))]
    packs = []
    for place, order in (("a", range(12)), ("b", range(11, -1, -1))):
        table = layouts.write_manifest(tmp_path / place, pictures, lambda index: {"case": names[index]})
        header, *rows = table.read_text().splitlines()
        table.write_text("\n".join([header, *(rows[index] for index in order)]))
        packs.append(packed(tmp_path, "manifest", table))
    assert packs[0].cases == packs[1].cases
    assert packs[0].fingerprint == packs[1].fingerprint


def test_several_masks_of_one_busi_image_are_united(tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    first, second = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    first[2:12, 2:12], second[20:30, 20:40] = 255, 255
    layouts.save(root / "benign" / "benign (1)_mask.png", first)
    layouts.save(root / "benign" / "benign (1)_mask_1.png", second)
    pack = packed(tmp_path, "busi", root, size=48, aspect="pad")
    assert pack.masks[0].sum() == 10 * 10 + 10 * 20


def test_the_word_mask_may_be_written_in_capitals(tmp_path: Path) -> None:
    plain = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "a", some_pictures()))
    root = layouts.write_busi(tmp_path / "b", some_pictures())
    for path, word in zip(sorted(root.glob("*/*_mask.png")), ["_Mask", "_MASK"] * 6, strict=True):
        path.rename(path.with_name(path.name.replace("_mask", word)))
    assert packed(tmp_path, "busi", root).fingerprint == plain.fingerprint


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_mask_is_the_same_in_every_pixel_format(tmp_path: Path, mode: str) -> None:
    pictures = some_pictures()
    plain = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "a", pictures))
    root = layouts.write_busi(tmp_path / "b", pictures)
    for path in root.glob("*/*_mask.png"):
        mask = Image.open(path)
        sixteen = Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
        (sixteen if mode == "I;16" else mask.convert(mode)).save(path)
    other = packed(tmp_path, "busi", root)
    assert other.fingerprint == plain.fingerprint


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_are_read_in_every_format(tmp_path: Path, ending: str, mode: str) -> None:
    pictures = some_pictures()
    plain = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "a", pictures))
    root = layouts.write_busi(tmp_path / "b", pictures)
    for path in root.glob("*/*).png"):
        Image.open(path).convert(mode).save(path.with_suffix(f".{ending}"), quality=98)
        if ending != "png":
            path.unlink()
    other = packed(tmp_path, "busi", root)
    difference = np.abs(other.images.astype(int) - plain.images).max()
    assert difference <= (8 if ending == "jpg" else 0)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_from_their_full_range(tmp_path: Path, ending: str) -> None:
    pictures = some_pictures()
    plain = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "a", pictures))
    root = layouts.write_busi(tmp_path / "b", pictures)
    for path in root.glob("*/*).png"):
        values = np.asarray(Image.open(path)).astype(np.uint16) * 257
        path.unlink()
        Image.fromarray(values).save(path.with_suffix(f".{ending}"))
    assert packed(tmp_path, "busi", root).fingerprint == plain.fingerprint


def test_twelve_bits_in_sixteen_are_not_taken_for_a_dark_image(tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    path = next(root.glob("*/*).png"))
    Image.fromarray(np.linspace(0, 4095, 24 * 24, dtype=np.uint16).reshape(24, 24)).save(path)
    with pytest.raises(SonotuneError, match=r"16 bit values up to 4095 only; scale"):
        packed(tmp_path, "busi", root)


@pytest.mark.parametrize(("ending", "channels"), [("png", 3), ("png", 4), ("tif", 3)])
def test_sixteen_bit_colours_are_held_to_the_same_rule_as_greys(
    tmp_path: Path, ending: str, channels: int
) -> None:
    """The eight bits that are kept of each would show twelve as almost black."""
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    path = next(root.glob("*/*).png"))
    path.unlink()

    def save(highest: int) -> None:
        values = np.linspace(0, highest, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
        opaque = np.full((HEIGHT, WIDTH), 65_535, np.uint16)
        picture = np.dstack([values, values, values, opaque])[..., :channels]
        cv2.imwrite(str(path.with_suffix(f".{ending}")), picture)

    save(65_535)
    assert packed(tmp_path, "busi", root).images.max() > 200
    save(4095)
    with pytest.raises(SonotuneError, match="16 bit values up to 4095 only; scale"):
        packed(tmp_path, "busi", root)


def test_classes_choose_and_order_the_labels(tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    pack = packed(tmp_path, "busi", root, classes=("malignant", "benign"))
    assert len(pack) == 8
    assert pack.cases[0] == "benign (1)"
    assert pack.labels[0] == 1


def test_curated_keeps_the_listed_cases_only(tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    rows = "class;id\n" + "".join(f"{name};{n}\n" for name in layouts.CLASSES for n in (1, 2, 4))
    (tmp_path / "ids.csv").write_text(rows)
    pack = packed(tmp_path, "busi", root, keep="curated", ids=str(tmp_path / "ids.csv"))
    assert len(pack) == 9
    assert "benign (3)" not in pack.cases


def test_a_tilde_is_the_home_folder_in_every_path_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves it alone in `--set data.ids=~/ids.csv`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    layouts.write_busi(tmp_path / "d", some_pictures())
    names = [f"{name} ({n})" for name in layouts.CLASSES for n in (1, 2, 3)]
    (tmp_path / "ids.csv").write_text("case\n" + "\n".join(names))
    (tmp_path / "groups.csv").write_text(f"case,group\n{names[0]},twins\n{names[1]},twins\n")
    pack = packed(tmp_path, "busi", "~/d", keep="curated", ids="~/ids.csv", groups="~/groups.csv")
    assert (len(pack), pack.groups[:3]) == (9, ("twins", "twins", None))
    tests = "".join(f"{case},{n % 3}\n" for n, case in enumerate(pack.cases))
    (tmp_path / "folds.csv").write_text("case,fold\n" + tests)
    spec = Folds(from_="~/folds.csv", k=3, validation=0.5, group_by="none", allow_leak=True)
    assert len(make_folds(pack, spec).folds) == 3


def test_bus_uclm_takes_patients_from_names_and_lesions_from_colours(tmp_path: Path) -> None:
    pictures = some_pictures()
    pack = packed(tmp_path, "bus_uclm", layouts.write_bus_uclm(tmp_path / "d", pictures))
    assert pack.patients[:3] == ("P000", "P000", "P001")
    assert labels_of(pack) == [picture.label for picture in pictures]
    plain = packed(tmp_path, "busi", layouts.write_busi(tmp_path / "b", pictures))
    assert (pack.masks == plain.masks).all()


def test_a_missing_mask_of_a_class_that_is_left_out_does_not_matter(tmp_path: Path) -> None:
    root = layouts.write_bus_uclm(tmp_path / "d", some_pictures())
    (root / "masks" / "P005_001.png").unlink()
    assert len(packed(tmp_path, "bus_uclm", root, classes=TWO)) == 8


def test_a_transparent_bus_uclm_image_is_read_as_it_looks(tmp_path: Path) -> None:
    root = layouts.write_bus_uclm(tmp_path / "d", some_pictures())
    plain = packed(tmp_path, "bus_uclm", root)
    path = root / "images" / "P000_000.png"
    Image.open(path).convert("RGBA").save(path)
    assert packed(tmp_path, "bus_uclm", root).fingerprint == plain.fingerprint


def test_a_mask_of_another_size_is_resized_only_on_request(tmp_path: Path) -> None:
    root = layouts.write_bus_uclm(tmp_path / "d", some_pictures())
    path = root / "masks" / "P000_000.png"
    Image.open(path).resize((WIDTH * 2, HEIGHT * 2), Image.Resampling.NEAREST).save(path)
    pack = packed(tmp_path, "bus_uclm", root, other_mask_size="resize")
    assert len(pack) == 12
    assert "P000_000.png" in pack.notes[0]


def test_a_mask_that_lies_on_its_side_is_not_scaled(tmp_path: Path) -> None:
    root = layouts.write_busi(tmp_path / "d", some_pictures())
    path = root / "benign" / "benign (1)_mask.png"
    layouts.save(path, np.rot90(np.asarray(Image.open(path))))
    with pytest.raises(SonotuneError, match="is 40×48, its image 48×40; turn it as the image lies"):
        packed(tmp_path, "busi", root, other_mask_size="resize")


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    root = layouts.write_udiat(tmp_path / "d", layouts.some_pictures())
    mask = min((root / "GT").glob("*.png"))
    mask.with_suffix(".bmp").write_bytes(mask.read_bytes())
    with pytest.raises(SonotuneError, match=f"two files of one case, '{mask.stem}.bmp' and '{mask.name}'"):
        packed(tmp_path, "udiat", root)


@pytest.mark.parametrize("labels", ["xlsx", "csv", "folders"])
def test_udiat_labels_come_from_a_sheet_a_csv_or_folders(tmp_path: Path, labels: str) -> None:
    pictures = some_pictures(classes=TWO)
    pack = packed(tmp_path, "udiat", layouts.write_udiat(tmp_path / "d", pictures, labels))
    assert pack.cases[0] == "000001"
    assert labels_of(pack) == [picture.label for picture in pictures]


def test_rows_of_a_udiat_sheet_without_image_and_type_are_no_cases(tmp_path: Path) -> None:
    """A legend beside the table that is longer than it."""
    pictures = some_pictures(classes=TWO)
    root = layouts.write_udiat(tmp_path / "d", pictures)
    rows: list[dict[str, object]] = [
        {"Image": number, "Type": picture.label, "": None, "Diagnosis": "FA"}
        for number, picture in enumerate(pictures, start=1)
    ]
    layouts.write_excel(
        root / "DatasetB.xlsx", [*rows, {"Image": None, "Type": None, "": "", "Diagnosis": "IDC"}]
    )
    assert labels_of(packed(tmp_path, "udiat", root)) == [picture.label for picture in pictures]


@pytest.mark.parametrize("folds", [5, 10])
def test_bus_bra_carries_patients_and_the_official_folds(tmp_path: Path, folds: int) -> None:
    root = layouts.write_bus_bra(tmp_path / "d", some_pictures(10, TWO), folds)
    pack = packed(tmp_path, "bus_bra", root, official_folds=folds)
    assert pack.patients[:3] == ("1", "1", "2")
    assert pack.official[:4] == (1, 1, 2, 2)
    assert set(pack.official) == set(range(folds))


def test_bus_bra_without_its_fold_file_says_so(tmp_path: Path) -> None:
    root = layouts.write_bus_bra(tmp_path / "d", some_pictures(10, TWO))
    (root / "5-fold-cv.csv").unlink()
    pack = packed(tmp_path, "bus_bra", root, classes=TWO)
    assert set(pack.official) == {None}
    assert "5-fold-cv.csv" in pack.notes[0]


def more(index: int) -> dict[str, object]:
    return {
        "case": f"c{index}",
        "patient": f"p{index // 3}",
        "fold": index % 2,
        "spacing": 0.1 if index else "",
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_carries_case_patient_fold_and_spacing(tmp_path: Path, kind: str) -> None:
    table = layouts.write_manifest(tmp_path / "d", some_pictures(), more)
    if kind == "parquet":
        from pyarrow import csv

        pq.write_table(csv.read_csv(table), table.with_suffix(".parquet"))
        table = table.with_suffix(".parquet")
    pack = packed(tmp_path, "manifest", table)
    assert pack.cases[:2] == ("c0", "c1")
    assert pack.patients[:4] == ("p0", "p0", "p0", "p1")
    assert pack.official[:3] == (0, 1, 0)
    assert np.isnan(pack.spacing[0])
    assert pack.spacing[1] == 0.1


def test_a_parquet_manifest_with_gaps_keeps_whole_folds(tmp_path: Path) -> None:
    layouts.write_manifest(tmp_path / "d", some_pictures())
    rows = {
        "image": [f"pictures/{n}.png" for n in range(12)],
        "mask": [f"outlines/{n}.png" for n in range(8)] + [None] * 4,
        "label": [name for name in layouts.CLASSES for _ in range(4)],
        "fold": [None] + [1.0, 2.0] * 5 + [1.0],
    }
    pq.write_table(pa.table(rows), tmp_path / "d" / "cases.parquet")
    pack = packed(tmp_path, "manifest", tmp_path / "d" / "cases.parquet")
    assert pack.official[:3] == (None, 0, 1)
    assert pack.cases[0] == "pictures-0"


def test_a_file_whose_name_really_holds_a_backslash_is_read(tmp_path: Path) -> None:
    """As an archive that was made on Windows may leave it."""
    table = layouts.write_manifest(tmp_path, some_pictures(), lambda index: {"case": f"c{index}"})
    (tmp_path / "pictures/0.png").rename(tmp_path / "pictures\\0.png")
    table.write_text(table.read_text().replace("pictures/0", "pictures\\0"))
    assert len(load(Data(source="manifest", root=str(table), size=16), tmp_path / "c")) == 12


def test_a_manifest_unites_the_masks_of_one_cell(tmp_path: Path) -> None:
    table = layouts.write_manifest(tmp_path / "d", some_pictures())
    table.write_text(table.read_text().replace("outlines/0.png", "outlines/0.png|outlines/1.png"))
    pack = packed(tmp_path, "manifest", table, size=48)
    assert pack.masks[0].sum() >= max(pack.masks[1].sum(), 1)
