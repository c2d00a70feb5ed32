"""BUS-BRA: `Images/bus_0001-l.png`, `Masks/mask_0001-l.png`, `bus_data.csv`, and the authors' own folds."""

from pathlib import Path

from engine.data.cases import Case, Found, Problem
from engine.data.files import by_stem, folder_at, subfolder
from engine.data.sources.cells import read_fold, without_gaps
from engine.data.sources.listed import unlisted
from engine.data.tables import Row, read_table
from engine.spec.data import Data

LAYOUT = "Images/bus_0001-l.png, Masks/mask_0001-l.png, bus_data.csv and 5-fold-cv.csv"


def find(data: Data) -> Found:
    root = folder_at(data.root, LAYOUT)
    images = by_stem(subfolder(root, "Images", LAYOUT))
    masks = by_stem(subfolder(root, "Masks", LAYOUT))
    listed = read_table(root / "bus_data.csv", ("ID", "Case", "Pathology"))
    rows = {row["ID"]: row for row in listed}
    folds, lost = _folds(root / f"{data.official_folds}-fold-cv.csv")
    cases = [_case(rows[name], path, masks, folds) for name, path in images.items() if name in rows]
    cases, gaps = without_gaps(cases)
    strays = unlisted({name: path.name for name, path in images.items()}, rows, "Images", "bus_data.csv")
    return Found(tuple(cases), (*strays, *_twice(listed), *lost, *gaps), _notes(data, folds))


def _twice(rows: list[Row]) -> list[Problem]:
    """Rows of one image that do not agree: taking the last would be a guess of ours."""
    seen: dict[str, str] = {}
    problems = []
    for row in rows:
        told = f"{row['Pathology'].lower()} of patient {row['Case']}"
        if seen.setdefault(row["ID"], told) != told:
            text = f"says of {row['ID']!r} both {seen[row['ID']]} and {told}"
            problems.append(Problem(row["ID"], "bus_data.csv", "two-labels", text))
    return problems


def _case(row: Row, image: Path, masks: dict[str, Path], folds: dict[str, int]) -> Case:
    name = row["ID"]
    mask = masks.get(name.replace("bus_", "mask_", 1))
    own = () if mask is None else (mask,)
    return Case(name, image, own, row["Pathology"].lower(), row["Case"] or None, folds.get(name))


def _folds(table: Path) -> tuple[dict[str, int], list[Problem]]:
    """The test fold of each case; a data set without the file has no official folds."""
    if not table.exists():
        return {}, []
    folds: dict[str, int] = {}
    problems = []
    for row in read_table(table, ("ID", "kFold")):
        fold = read_fold(row["kFold"])
        if fold is None:
            text = f"gives {row['ID']!r} the fold {row['kFold']!r}; a whole number is needed"
            problems.append(Problem(row["ID"], table.name, "fold", text))
        elif folds.setdefault(row["ID"], fold) != fold:
            text = f"gives {row['ID']!r} the folds {folds[row['ID']]} and {fold}; each case is tested once"
            problems.append(Problem(row["ID"], table.name, "fold", text))
    return folds, problems


def _notes(data: Data, folds: dict[str, int]) -> tuple[str, ...]:
    if folds:
        return ()
    return (f"{data.official_folds}-fold-cv.csv is not there: the authors' folds are unknown",)
