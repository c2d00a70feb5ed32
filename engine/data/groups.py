"""The file of duplicate groups: written by the audit, read by a study that keeps duplicates in one fold."""

import csv
import io
from pathlib import Path

from engine.data.cases import Pack
from engine.data.tables import read_table
from engine.errors import SonotuneError
from engine.storage import LocalStorage

COLUMNS = ("case", "group")


def write_groups(path: Path, groups: dict[str, str]) -> None:
    """`groups`: case name to group name, only for cases that have a duplicate."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((case, groups[case]) for case in sorted(groups, key=lambda case: (groups[case], case)))
    LocalStorage(path.absolute().parent).write(path.name, text.getvalue().encode())


def read_groups(path: Path, pack: Pack) -> tuple[str | None, ...]:
    """Cases outside the pack (another choice of classes) are fine; a file that knows none of them is not."""
    groups = {row["case"]: row["group"] for row in read_table(path, COLUMNS)}
    found = tuple(groups.get(case) or None for case in pack.cases)
    if not any(found):
        raise SonotuneError(f"data.groups {str(path)!r} names none of the {len(pack)} cases of this data set")
    return found
