"""BUSI: a folder per class, `benign (1).png` beside `benign (1)_mask.png`, `…_mask_1.png` for more."""

import re
from pathlib import Path

from engine.data.cases import Case, Found, Problem
from engine.data.files import folder_at, pictures, subfolder
from engine.spec.data import Data

LAYOUT = "<class>/<class> (N).png with <class>/<class> (N)_mask.png, _mask_1.png, …"
OWN = ("benign", "malignant", "normal")
MASK = re.compile(r"^(?P<name>.+)_mask(_[0-9]+)?$", re.IGNORECASE)


def find(data: Data) -> Found:
    root = folder_at(data.root, LAYOUT)
    cases: list[Case] = []
    problems: list[Problem] = []
    for label in dict.fromkeys((*data.classes, *OWN)):
        if label not in data.classes and not (root / label).is_dir():
            continue
        found, lost = _folder(subfolder(root, label, f"{LAYOUT}; data.classes names the classes"), label)
        cases += found
        problems += lost if label in data.classes else []
    return Found(tuple(cases), tuple(problems))


def _folder(folder: Path, label: str) -> tuple[list[Case], list[Problem]]:
    images: list[Path] = []
    masks: dict[str, list[Path]] = {}
    for path in pictures(folder):
        match = MASK.match(path.stem)
        if match:
            masks.setdefault(match["name"], []).append(path)
        else:
            images.append(path)
    cases = [Case(path.stem, path, tuple(masks.pop(path.stem, ())), label) for path in images]
    lost = [
        Problem(
            name, f"{folder.name}/{path.name}", "no-image", f"is a mask; its image {name!r} is not beside it"
        )
        for name, paths in masks.items()
        for path in paths
    ]
    return cases, lost
