"""Groups of duplicates: the file that the audit writes and a study reads, and what is to be said of them."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine.data.cases import Pack
from engine.data.files import natural
from engine.data.tables import Row, read_table
from engine.errors import SonotuneError
from engine.storage import LocalStorage
from engine.words import plural

COLUMNS = ("case", "group")


def write_groups(path: Path, groups: dict[str, str]) -> None:
    """`groups`: case name to group name, only for cases that have a duplicate."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((case, groups[case]) for case in sorted(groups, key=lambda case: (groups[case], case)))
    LocalStorage(path.absolute().parent).write(path.name, text.getvalue().encode())


def read_groups(path: Path, pack: Pack) -> Pack:
    """The pack with the groups of a file. Names that it has not are told: another choice of classes leaves
    some out, but so does a spreadsheet that changed them. A file that knows no case at all is a mistake."""
    groups = _read(path)
    found = tuple(groups.get(case) or None for case in pack.cases)
    strange = sorted(set(groups) - set(pack.cases), key=natural)
    if not any(found):
        raise SonotuneError(
            f"data.groups {str(path)!r} puts none of the {len(pack)} cases of this data set into a group; "
            f"they are named like {pack.cases[0]!r}{_like(strange)}"
        )
    return replace(pack, groups=found, notes=(*pack.notes, *_told(strange)))


def _like(strange: list[str]) -> str:
    return f", those of the file like {strange[0]!r}" if strange else ""


def _told(strange: list[str]) -> list[str]:
    if not strange:
        return []
    return [f"data.groups names {plural(len(strange), 'case')} not used here, such as {strange[0]!r}"]


def _rows(path: Path) -> Iterable[Row]:
    try:
        return read_table(path, COLUMNS)
    except SonotuneError as error:
        raise SonotuneError(f"data.groups must be found, none, or a table of groups: {error}") from error


def _read(path: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    for row in _rows(path):
        case, group = row["case"], row["group"]
        if groups.setdefault(case, group) != group:
            raise SonotuneError(
                f"data.groups {str(path)!r} puts case {case!r} into two groups, {groups[case]!r} and "
                f"{group!r}; a case is in one: give all cases of both the same group"
            )
    return groups


def told_of(pack: Pack) -> list[str]:
    """Notes for the report: how many duplicates there are, and which of them contradict each other."""
    labels: dict[str, list[int]] = defaultdict(list)
    for group, label in zip(pack.groups, pack.labels, strict=True):
        if group is not None:
            labels[group].append(int(label))
    shared = {group: found for group, found in labels.items() if len(found) > 1}
    if not shared:
        return []
    members = sum(map(len, shared.values()))
    notes = [f"{members} of {len(pack)} cases are duplicates of others, in {plural(len(shared), 'group')}"]
    conflicting = {group for group, found in shared.items() if len(set(found)) > 1}
    if conflicting:
        cases = [case for case, group in zip(pack.cases, pack.groups, strict=True) if group in conflicting]
        told = (
            f"{plural(len(conflicting), 'group')} of duplicates with conflicting labels: {', '.join(cases)}"
        )
        notes.append(f"{told}; sonotune data audit --curate leaves them out")
    return notes
