"""BUS-UCLM: `images/` and `masks/` of the same names, lesions painted by class, labels in `INFO.csv`."""

from engine.data.cases import NORMAL, Case, Colours, Found, Problem
from engine.data.files import by_stem, folder_at, subfolder
from engine.data.sources.listed import unlisted
from engine.data.tables import read_table
from engine.spec.data import Data

LAYOUT = "images/*.png, masks/*.png and INFO.csv (Image;Label)"
COLOURS: Colours = (("benign", (0, 255, 0)), ("malignant", (255, 0, 0)))


def find(data: Data) -> Found:
    root = folder_at(data.root, LAYOUT)
    images = by_stem(subfolder(root, "images", LAYOUT))
    masks = by_stem(subfolder(root, "masks", LAYOUT))
    rows = read_table(root / "INFO.csv", ("Image", "Label"))
    labels = {_stem(row["Image"]): row["Label"].lower() for row in rows}
    cases = [
        Case(
            name, path, (masks[name],) if name in masks else (), labels[name], _patient(name), colours=COLOURS
        )
        for name, path in images.items()
        if name in labels
    ]
    strays = unlisted({name: name for name in images}, labels, "images", "INFO.csv")
    return Found(tuple(cases), (*strays, *_maskless(cases, data), *_twice(rows)))


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _patient(name: str) -> str:
    """`ALWI_003` is the fourth frame of one examination."""
    return name.split("_", 1)[0]


def _maskless(cases: list[Case], data: Data) -> list[Problem]:
    """Normal frames have a black mask in this data set, so a missing one is a mistake where they are used."""
    return [
        Problem(case.name, f"images/{case.image.name}", "no-mask", "has no mask of its name in masks/")
        for case in cases
        if not case.masks and case.label == NORMAL and NORMAL in data.classes
    ]


def _twice(rows: list[dict[str, str]]) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for row in rows:
        name, label = _stem(row["Image"]), row["Label"].lower()
        if seen.setdefault(name, label) != label:
            text = f"labels {name!r} both {seen[name]} and {label}"
            problems.append(Problem(name, "INFO.csv", "two-labels", text))
    return problems
