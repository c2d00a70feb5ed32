"""The files of a prediction. They say whose they are, so that a later one writes over its own kind only."""

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.data.files import EXTENSIONS
from engine.errors import SonotuneError
from engine.predict.finding import Finding

TABLE, FOLDERS = "predictions.csv", ("masks", "overlays")
MAKER = ("Software", "sonotune predict")  # a text in the PNG


def picture(pixels: np.ndarray, path: Path) -> str:
    """pixels: uint8, grey or red, green, blue"""
    about = PngInfo()
    about.add_text(*MAKER)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG", pnginfo=about)
    return str(path)


def spare(names: Sequence[str], out: Path) -> None:
    """A data set's own `masks` may lie there, also in a folder that was predicted into before."""
    pictures = [out / folder / f"{name}.png" for folder in FOLDERS for name in names]
    taken = [place for place in pictures if place.exists() and not _is_ours(place)]
    if (out / TABLE).exists() and not _is_our_table(out / TABLE):
        taken.append(out / TABLE)
    if taken:
        raise SonotuneError(
            f"--out {out}: {taken[0]} is there already and is not of this sonotune's predictions; "
            "choose another folder"
        )


def _is_ours(place: Path) -> bool:
    """What was cut off before its first byte is nobody's."""
    if not place.stat().st_size:
        return True
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(place, formats=("PNG",)) as found:
            return found.info.get(MAKER[0]) == MAKER[1]
    except Exception:  # no PNG, or a broken one, which raises whatever the decoder stumbled over
        return False


def _is_our_table(place: Path) -> bool:
    """Its first columns are those of every table of findings."""
    with place.open(encoding="utf-8", errors="replace") as file:
        head = next(csv.reader(file), [])
    return not head or head[:3] == [field.name for field in fields(Finding)][:3]


def names_of(paths: Sequence[Path]) -> Iterator[str]:
    """Images of one name from several folders get numbers."""
    taken: set[str] = set()
    for path in paths:
        name, number = _bare(path), 1
        while name in taken:
            number += 1
            name = f"{_bare(path)}-{number}"
        taken.add(name)
        yield name


def _bare(path: Path) -> str:
    """Numbers with dots, as DICOM has them, do not end in an extension."""
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name
