"""Folds from a file: another study's `folds.json`, or a table of test folds."""

import csv
from pathlib import Path

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.folds import leaks
from engine.folds.manifest import Manifest


def read_manifest(path: Path, pack: Pack) -> Manifest:
    """The folds as they are; whether they fit this data set is for the common checks to say."""
    manifest = Manifest.from_json(read(path), str(path))
    if set(manifest.classes) != set(pack.classes):
        raise SonotuneError(
            f"{path} splits the classes {', '.join(manifest.classes)}, "
            f"this study has {', '.join(pack.classes)}"
        )
    return manifest


def read_tests(path: Path, pack: Pack) -> dict[str, int]:
    """Columns `case` and `fold`, every case of the data set once."""
    rows = list(csv.DictReader(read(path).splitlines()))
    if not rows or not {"case", "fold"} <= set(rows[0]):
        raise SonotuneError(f"{path} must be a folds.json, or a CSV with the columns case and fold")
    tests: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        case, fold = (row["case"] or "").strip(), (row["fold"] or "").strip()
        if case in tests:
            raise SonotuneError(f"{path}, line {line}: case {case} appears twice")
        if not fold.isdecimal():
            raise SonotuneError(f"{path}, line {line}: fold must be a whole number from 0, got {fold!r}")
        tests[case] = int(fold)
    return complete(tests, path, pack)


def complete(tests: dict[str, int], path: Path, pack: Pack) -> dict[str, int]:
    """Cases that this study leaves out (another choice of classes) may be in the file; the reverse not."""
    missing = set(pack.cases) - set(tests)
    if missing:
        raise SonotuneError(f"{path} says nothing of {leaks.some(missing)}")
    return {case: tests[case] for case in pack.cases}


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SonotuneError(f"folds.from: {path} cannot be read ({error})") from error
