"""UDIAT (data set B): `original/000001.png`, `GT/000001.png`, labels in a table or in folders."""

from pathlib import Path

from engine.data.cases import Case, Found, Problem
from engine.data.files import by_stem, folder_at, pictures, subfolder
from engine.data.tables import read_table
from engine.errors import SonotuneError
from engine.spec.data import Data

LAYOUT = "original/000001.png, GT/000001.png, and DatasetB.xlsx, DatasetB.csv or folders Benign/, Malignant/"
TABLES = ("DatasetB.xlsx", "DatasetB.csv")
FOLDERS = ("Benign", "Malignant")


def find(data: Data) -> Found:
    root = folder_at(data.root, LAYOUT)
    original = subfolder(root, "original", LAYOUT)
    ground = subfolder(root, "GT", LAYOUT)
    sorted_out = _by_folder(root)
    images = {path.stem: path for path, _ in sorted_out} | by_stem(original)
    masks = {path.stem: path for name in FOLDERS for path in _pictures(ground / name)} | by_stem(ground)
    labels = _by_table(root) or [(path.stem, label) for path, label in sorted_out]
    if not labels:
        raise SonotuneError(
            f"data.root {str(root)!r} says nowhere which image is malignant; expected {LAYOUT}"
        )
    return _joined(images, masks, labels)


def _by_table(root: Path) -> list[tuple[str, str]]:
    """Names as in the table, where a spreadsheet has made 1 of 000001."""
    for name in TABLES:
        if (root / name).is_file():
            rows = read_table(root / name, ("Image", "Type"))
            return [
                (_number(row["Image"]), row["Type"].lower()) for row in rows if row["Image"] or row["Type"]
            ]
    return []


def _number(name: str) -> str:
    stem = name.rsplit(".", 1)[0]
    return stem.zfill(6) if stem.isdigit() else stem


def _by_folder(root: Path) -> list[tuple[Path, str]]:
    """Folders of labels lie beside `original/` or inside it."""
    places = [(place / name, name.lower()) for place in (root, root / "original") for name in FOLDERS]
    return [(path, label) for folder, label in places for path in _pictures(folder)]


def _pictures(folder: Path) -> list[Path]:
    return list(pictures(folder)) if folder.is_dir() else []


def _joined(images: dict[str, Path], masks: dict[str, Path], labels: list[tuple[str, str]]) -> Found:
    problems = []
    known: dict[str, str] = {}
    for name, label in labels:
        if known.setdefault(name, label) != label:
            text = f"is labelled both {known[name]} and {label}"
            problems.append(Problem(name, name, "two-labels", text))
        if name not in images:
            problems.append(Problem(name, name, "no-image", "has a label and no image in original/"))
    problems += [
        Problem(name, f"original/{path.name}", "no-label", "has no label")
        for name, path in images.items()
        if name not in known
    ]
    cases = [
        Case(name, path, (masks[name],) if name in masks else (), known[name])
        for name, path in images.items()
        if name in known
    ]
    return Found(tuple(cases), tuple(problems))
