"""Folds from a file: another study's `folds.json`, or a table of test folds."""

from pathlib import Path

from engine.data.cases import Pack
from engine.data.sources.cells import read_fold
from engine.data.tables import Row, read_table
from engine.errors import SonotuneError
from engine.folds import leaks
from engine.folds.manifest import Manifest


def read_manifest(path: Path, pack: Pack) -> Manifest:
    """The folds as they are; whether they fit this data set is for the common checks to say."""
    manifest = Manifest.from_json(read(path), str(path))
    if set(manifest.classes) != set(pack.classes):
        raise SonotuneError(
            f"folds.from: {path} splits the classes {', '.join(manifest.classes)}, this study has "
            f"{', '.join(pack.classes)}; give data.classes the same, or leave folds.from out"
        )
    return manifest


def read_tests(path: Path, pack: Pack) -> dict[str, int]:
    """Columns `case` and `fold`, every case of the data set once; read like any other table."""
    tests: dict[str, int] = {}
    for row in _rows(path):
        case, fold = row["case"], row["fold"]
        if case in tests:
            raise SonotuneError(f"folds.from: {path}: case {case} appears twice; leave one of its rows")
        number = read_fold(fold)
        if number is None:
            raise SonotuneError(
                f"folds.from: {path}: the fold of case {case} must be a whole number from 0 to 999, "
                f"got {fold!r}"
            )
        tests[case] = number
    return complete(tests, path, pack)


def _rows(path: Path) -> list[Row]:
    try:
        return read_table(path, ("case", "fold"))
    except SonotuneError as error:
        raise SonotuneError(
            f"folds.from must be official, a folds.json, or a table of test folds: {error}"
        ) from error


def complete(tests: dict[str, int], path: Path, pack: Pack) -> dict[str, int]:
    """Cases that this study leaves out (another choice of classes) may be in the file; the reverse not."""
    missing = set(pack.cases) - set(tests)
    if missing:
        unknown = set(tests) - set(pack.cases)
        like = f" (it names {leaks.some(unknown)} beside)" if unknown else ""
        raise SonotuneError(
            f"folds.from: {path} says nothing of {leaks.some(missing)}{like}; give each case a row"
        )
    return {case: tests[case] for case in pack.cases}


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SonotuneError(f"folds.from: {path} cannot be read ({error})") from error
