"""A table of cases: `image, mask, label`, and where known `case, patient, fold, spacing`."""

from pathlib import Path, PurePosixPath

from engine.data.cases import Case, Found, Problem
from engine.data.sources.cells import read_fold, read_spacing, without_gaps
from engine.data.tables import Row, read_table
from engine.errors import SonotuneError
from engine.spec.data import Data

LAYOUT = "a CSV or Parquet file with the columns image, mask, label (and case, patient, fold, spacing)"
BETWEEN_MASKS = "|"  # several lesions of one image: their masks are united
NEEDED = ("image", "mask", "label")
READ = (*NEEDED, "case", "patient", "fold", "spacing")


def find(data: Data) -> Found:
    table = Path(data.root or "").expanduser()
    if not table.is_file():
        raise SonotuneError(f"data.root {data.root!r} is not a file; expected {LAYOUT}")
    cases: list[Case] = []
    problems: list[Problem] = []
    rows = read_table(table, NEEDED)
    for number, row in enumerate(rows, start=2):
        wrong = _mistake(row, table.parent)
        if wrong:
            rule, text = wrong
            problems.append(Problem(_name(row), f"{table.name} row {number}", rule, text))
        else:
            cases.append(_case(row, table.parent))
    cases, gaps = without_gaps(cases)
    return Found(tuple(cases), (*problems, *gaps), _notes(table, rows[0]))


def _notes(table: Path, row: Row) -> tuple[str, ...]:
    """A column `Patient` that nobody reads would leave patients torn, and nobody would know why."""
    unread = [name for name in row if name and name not in READ]
    if not unread:
        return ()
    return (f"{table.name}: columns that are not read: {', '.join(unread)}; read are {', '.join(READ)}",)


def _name(row: Row) -> str:
    """The path without its ending, so that `a/1.png` and `b/1.png` are two cases."""
    image = PurePosixPath(row["image"])
    return row.get("case") or "-".join((image.with_suffix("") if image.name else image).parts)


def _case(row: Row, folder: Path) -> Case:
    return Case(
        name=_name(row),
        image=folder / row["image"],
        masks=tuple(folder / name for name in _masks(row)),
        label=row["label"],
        patient=row.get("patient") or None,
        fold=read_fold(row.get("fold", "")),
        spacing=read_spacing(row.get("spacing", "")),
    )


def _masks(row: Row) -> list[str]:
    return [name.strip() for name in row["mask"].split(BETWEEN_MASKS) if name.strip()]


def _mistake(row: Row, folder: Path) -> tuple[str, str] | None:
    """The first rule that a row breaks, and why."""
    if not PurePosixPath(row["image"]).name:
        return "no-image", "names no image"
    names = (row["image"], *_masks(row))
    if outside := [name for name in names if _leaves(name)]:
        return "outside", f"names {outside[0]!r}; only relative paths inside the manifest's folder are read"
    if row["image"] in names[1:]:
        return "no-mask", f"names {row['image']!r} as both image and mask"
    if windows := [name for name in names if "\\" in name and not (folder / name).exists()]:
        return "missing", f"names {windows[0]!r}; folders are parted by '/' here"
    if row.get("fold") and read_fold(row["fold"]) is None:
        return "fold", f"has fold {row['fold']!r}; a whole number from 0 to 999 is needed"
    if row.get("spacing") and read_spacing(row["spacing"]) is None:
        return "spacing", f"has spacing {row['spacing']!r}; mm per pixel above 0 and up to 10 are needed"
    return None


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or "\0" in name
