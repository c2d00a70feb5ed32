"""What is wrong with a split, each finding a sentence with the ids that it is about."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.folds.dealing import Table
from engine.folds.manifest import Fold, Manifest
from engine.words import plural

SHOWN = 8  # ids of a finding that are printed
UNEVEN = 1.5  # a test part so many times larger than the mean is worth a word


def some(ids: Iterable[str]) -> str:
    """The first few ids, and how many more there are."""
    ids = sorted(ids)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def check_cases(pack: Pack) -> None:
    twice = [case for case, count in Counter(pack.cases).items() if count > 1]
    if twice:
        raise SonotuneError(f"case ids must be unique, got more than once: {some(twice)}")


def check_enough(table: Table, k: int, outer: int) -> None:
    """Each class in each test part, and enough of it beside for train and validation; per level if nested."""
    for label, name in enumerate(table.classes):
        units = len(np.unique(table.units[table.labels == label]))
        inside = units - -(-units // outer) if outer else units
        if units < outer or inside < least(k):
            levels = f"folds.outer={outer} with folds.k={k}" if outer else f"folds.k={k}"
            raise SonotuneError(
                f"{levels} needs at least {fewest(k, outer)} cases (or groups that stay together) of "
                f"every class, but {name} has {units}; use fewer folds or drop it from data.classes"
            )


def fewest(k: int, outer: int) -> int:
    """The smallest class that a design can split."""
    count = max(least(k), outer)
    while outer and count - -(-count // outer) < least(k):
        count += 1
    return count


def least(k: int) -> int:
    """Of each class: with k of it and k above 2, any test part leaves two to train and validate on. Of two
    test parts, one of three cases would have two and leave one."""
    return 4 if k == 2 else k


def of_parts(fold: Fold, pack: Pack) -> list[str]:
    """Parts that overlap, hold unknown cases, or lack a class."""
    found = []
    label_of = {case: pack.classes[label] for case, label in zip(pack.cases, pack.labels, strict=True)}
    counts = Counter(case for part in fold.parts.values() for case in part)
    shared = [case for case, count in counts.items() if count > 1]
    if shared:
        found.append(f"fold {fold.name}: more than once in its parts: {some(shared)}")
    unknown = set(counts) - set(label_of)
    if unknown:
        found.append(f"fold {fold.name}: no such cases in the data set: {some(unknown)}")
    for part, cases in fold.parts.items():
        lacking = set(pack.classes) - {label_of[case] for case in cases if case in label_of}
        if lacking:
            found.append(f"fold {fold.name}: {part} part without any case of {some(lacking)}")
    return found


def of_tests(folds: Sequence[Fold], pack: Pack) -> list[str]:
    """Each case that a repeat knows is tested in it exactly once, and is used in each of its folds."""
    found = []
    rounds: dict[tuple[int | None, int], list[Fold]] = defaultdict(list)
    for fold in folds:
        rounds[(fold.outer, fold.repeat)].append(fold)
    for (outer, repeat), members in rounds.items():
        where = f"repeat {repeat}" if outer is None else f"outer fold {outer}, repeat {repeat}"
        known = (
            set(pack.cases) if outer is None else {c for f in members for p in f.parts.values() for c in p}
        )
        tested = Counter(case for fold in members for case in fold.test)
        never, often = known - set(tested), [case for case, count in tested.items() if count > 1]
        found += [f"{where}: never tested: {some(never)}"] if never else []
        found += [f"{where}: tested more than once: {some(often)}"] if often else []
        for fold in members:
            left_out = known - {case for part in fold.parts.values() for case in part}
            found += [f"fold {fold.name}: in no part: {some(left_out)}"] if left_out else []
    return found


def of_finals(manifest: Manifest, pack: Pack) -> list[str]:
    """A nested design: outer test parts cover all cases once, and no inner fold has seen its outer's."""
    if not manifest.finals:
        return []
    found = of_tests([replace(fold, outer=None) for fold in manifest.finals], pack)
    tests = {fold.outer: set(fold.test) for fold in manifest.finals}
    for fold in manifest.folds:
        seen = tests.get(fold.outer, set()) & {case for part in fold.parts.values() for case in part}
        found += [f"fold {fold.name}: holds cases of its outer test part: {some(seen)}"] if seen else []
    return found


def of_units(fold: Fold, pack: Pack) -> list[str]:
    """Patients and groups of duplicates that lie in more than one part."""
    part_of = {case: part for part, cases in fold.parts.items() for case in cases}
    found = []
    for one, what, ids in (
        ("patient", "patients", pack.patients),
        ("group of duplicates", "groups of duplicates", pack.groups),
    ):
        parts: dict[str, set[str]] = defaultdict(set)
        for case, name in zip(pack.cases, ids, strict=True):
            if name is not None and case in part_of:
                parts[name].add(part_of[case])
        torn = [name for name, where in parts.items() if len(where) > 1]
        if torn:
            what = one if len(torn) == 1 else what
            found.append(f"fold {fold.name}: {len(torn)} {what} in more than one part: {some(torn)}")
    return found


def allowed(leaking: list[str]) -> list[str]:
    if not leaking:
        return []
    more = f" (and {plural(len(leaking) - 1, 'more finding')})" if len(leaking) > 1 else ""
    return [f"LEAK, allowed by folds.allow_leak: {leaking[0]}{more}; test figures are optimistic"]


def unprovable(pack: Pack) -> list[str]:
    """What nobody can check, said plainly."""
    nameless = sum(patient is None for patient in pack.patients)
    if not nameless:
        return []
    return [
        f"separation of patients cannot be proved: {nameless} of {len(pack.cases)} cases come without a "
        f"patient id"
    ]


def uneven(folds: Sequence[Fold]) -> list[str]:
    """Grouping may make a part so large that its mean weighs more than it should."""
    sizes = {fold.name: len(fold.test) for fold in folds}
    mean = sum(sizes.values()) / max(len(sizes), 1)
    large = [f"{name} ({size} cases)" for name, size in sizes.items() if size > UNEVEN * mean]
    if not large:
        return []
    return [f"cases that stay together make test parts uneven (mean {mean:.0f} cases): {some(large)}"]
