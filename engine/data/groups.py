"""Groups of duplicates: the file that the audit writes and a study reads, and what is to be said of them."""

import csv
import io
from collections import defaultdict
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
    groups: dict[str, str] = {}
    for row in read_table(path, COLUMNS):
        case, group = row["case"], row["group"]
        if groups.setdefault(case, group) != group:
            raise SonotuneError(
                f"data.groups {str(path)!r} puts case {case!r} into two groups, {groups[case]!r} and "
                f"{group!r}; a case is in one: give all cases of both the same group"
            )
    found = tuple(groups.get(case) or None for case in pack.cases)
    if not any(found):
        raise SonotuneError(f"data.groups {str(path)!r} names none of the {len(pack)} cases of this data set")
    return found


def told_of(pack: Pack) -> list[str]:
    """Notes for the report: how many duplicates there are, and which of them contradict each other."""
    labels: dict[str, set[int]] = defaultdict(set)
    for group, label in zip(pack.groups, pack.labels, strict=True):
        if group is not None:
            labels[group].add(int(label))
    if not labels:
        return []
    members = sum(group is not None for group in pack.groups)
    notes = [f"{members} of {len(pack)} cases are duplicates of others, in {len(labels)} groups"]
    conflicting = {group for group, found in labels.items() if len(found) > 1}
    if conflicting:
        cases = [case for case, group in zip(pack.cases, pack.groups, strict=True) if group in conflicting]
        told = f"{len(conflicting)} groups of duplicates have conflicting labels: {', '.join(cases)}"
        notes.append(f"{told}; sonotune data audit --curate leaves them out")
    return notes
