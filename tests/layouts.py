"""Small data sets on disk, in the layout of each source, made of phantoms."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openpyxl import Workbook
from PIL import Image

from engine.data.phantom import generate
from engine.spec.data import Data

CLASSES = ("benign", "malignant", "normal")
HEIGHT, WIDTH = 40, 48


@dataclass(frozen=True)
class Picture:
    image: np.ndarray  # uint8 [40, 48]
    mask: np.ndarray  # uint8 [40, 48], 0 or 1
    label: str


def some_pictures(each: int = 4, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> list[Picture]:
    """`each` of every class, class by class; a lesion that the crop would cut away is moved back in."""
    pictures = []
    for index, label in enumerate(classes):
        images, masks, _ = generate(each, WIDTH, (label,), seed + index)
        pictures += [
            Picture(i[:HEIGHT], _inside(m[:HEIGHT], label), label) for i, m in zip(images, masks, strict=True)
        ]
    return pictures


def _inside(mask: np.ndarray, label: str) -> np.ndarray:
    if label == "normal" or mask.any():
        return mask
    mask = mask.copy()
    mask[10:20, 10:20] = 1
    return mask


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def painted(picture: Picture) -> np.ndarray:
    """[h, w, 3]: green benign, red malignant, black else."""
    colour = {"benign": (0, 255, 0), "malignant": (255, 0, 0), "normal": (0, 0, 0)}[picture.label]
    return picture.mask[..., None] * np.array(colour, np.uint8)


def write_rows(
    path: Path, rows: list[dict[str, object]], separator: str = ",", encoding: str = "utf-8"
) -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def write_busi(root: Path, pictures: list[Picture]) -> Path:
    counts = dict.fromkeys(CLASSES, 0)
    for picture in pictures:
        counts[picture.label] += 1
        stem = root / picture.label / f"{picture.label} ({counts[picture.label]})"
        save(stem.with_name(f"{stem.name}.png"), picture.image)
        save(stem.with_name(f"{stem.name}_mask.png"), picture.mask * 255)
    return root


def write_bus_uclm(root: Path, pictures: list[Picture]) -> Path:
    rows: list[dict[str, object]] = []
    for index, picture in enumerate(pictures):
        name = f"P{index // 2:03d}_{index % 2:03d}.png"
        save(root / "images" / name, picture.image)
        save(root / "masks" / name, painted(picture))
        rows.append({"Image": name, "Marks": "No", "Label": picture.label.capitalize()})
    write_rows(root / "INFO.csv", rows, ";", "utf-8-sig")
    return root


def write_udiat(root: Path, pictures: list[Picture], labels: str = "xlsx") -> Path:
    rows: list[dict[str, object]] = []
    for index, picture in enumerate(pictures, start=1):
        name = f"{index:06d}.png"
        save(root / "original" / name, picture.image)
        save(root / "GT" / name, picture.mask * 255)
        if labels == "folders":
            save(root / picture.label.capitalize() / name, picture.image)
        rows.append({"Image": index, "Type": picture.label.capitalize(), "Diagnosis": "CYST"})
    if labels == "csv":
        write_rows(root / "DatasetB.csv", rows)
    elif labels == "xlsx":
        write_excel(root / "DatasetB.xlsx", rows)
    return root


def write_excel(path: Path, rows: list[dict[str, object]]) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    for line in [list(rows[0]), *(list(row.values()) for row in rows)]:
        sheet.append(line)
    book.save(path)


def write_bus_bra(root: Path, pictures: list[Picture], folds: int = 5) -> Path:
    data: list[dict[str, object]] = []
    official: list[dict[str, object]] = []
    for index, picture in enumerate(pictures):
        case, side = index // 2 + 1, "lr"[index % 2]
        name = f"bus_{case:04d}-{side}"
        save(root / "Images" / f"{name}.png", picture.image)
        save(root / "Masks" / f"mask_{case:04d}-{side}.png", picture.mask * 255)
        data.append({"ID": name, "Case": case, "Pathology": picture.label, "Width": WIDTH, "Height": HEIGHT})
        official.append({"ID": name, "Pathology": picture.label, "kFold": case % folds + 1, "valid_1": 0})
    write_rows(root / "bus_data.csv", data)
    write_rows(root / f"{folds}-fold-cv.csv", official)
    return root


def write_manifest(
    root: Path, pictures: list[Picture], more: Callable[[int], dict[str, object]] | None = None
) -> Path:
    rows: list[dict[str, object]] = []
    for index, picture in enumerate(pictures):
        image, mask = f"pictures/{index}.png", f"outlines/{index}.png"
        save(root / image, picture.image)
        save(root / mask, picture.mask * 255)
        rows.append({"image": image, "mask": mask, "label": picture.label} | (more(index) if more else {}))
    write_rows(root / "cases.csv", rows)
    return root / "cases.csv"


def more(index: int) -> dict[str, object]:
    return {"case": f"c{index}", "patient": f"p{index // 3}", "fold": index % 2, "spacing": 0.1}


FOLDERS: dict[str, Callable[[Path, list[Picture]], object]] = {
    "busi": write_busi,
    "bus_uclm": write_bus_uclm,
    "udiat": write_udiat,
    "bus_bra": write_bus_bra,
}


def write(source: str, root: Path) -> Data:
    """A sound data set of the source, some cases of each class."""
    classes = CLASSES[:2] if source in ("udiat", "bus_bra") else CLASSES
    if source == "padded":
        return write("busi", root).model_copy(update={"aspect": "pad"})
    pictures = some_pictures(4 if source != "bus_bra" else 10, classes)
    place = root
    if source == "manifest":
        place = write_manifest(root, pictures, more)
    else:
        FOLDERS[source](root, pictures)
    return Data.model_validate({"source": source, "root": str(place), "classes": classes, "size": 16})
