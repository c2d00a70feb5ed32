"""Folds that do not leak: who trains, who validates and who tests, by name of the case.

Every manifest passes the same checks before anything is trained, made here or imported: parts disjoint,
each case tested once per repeat, every class in every part, and no patient or group of duplicates on two
sides. What cannot be checked is said in the manifest's warnings.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.data.cases import Pack
from engine.errors import SonotuneError, many
from engine.folds import leaks
from engine.folds.adopt import read_manifest, read_tests
from engine.folds.dealing import Rows, Table, deal, hold_out, table_of
from engine.folds.manifest import Fold, Manifest
from engine.spec.folds import Folds

__all__ = ["Fold", "Manifest", "make_folds"]

SPLIT, VALIDATION, OUTER = 0, 1, 2  # what a seed is drawn for


def make_folds(pack: Pack, spec: Folds) -> Manifest:
    """The folds that the spec asks for, checked; raises with the offending ids otherwise."""
    leaks.check_cases(pack)
    if spec.from_ not in (None, "official"):
        return adopted(Path(spec.from_).expanduser(), pack, spec)
    table = table_of(pack, spec)
    if spec.from_ == "official":
        folds, finals = official(pack, table, spec), list[Fold]()
        how = "test parts as published with the data set"
    else:
        leaks.check_enough(table, spec.k, spec.outer)
        folds, finals = (nested if spec.outer else plain)(table, spec)
        how = f"made with seed {spec.seed}"
    return checked(pack, spec, Manifest(tuple(folds), pack.classes, spec.seed, tuple(finals), (how,)))


def checked(pack: Pack, spec: Folds, manifest: Manifest) -> Manifest:
    """With `allow_leak`, what would have been refused becomes a warning at the top of the report."""
    problems = [p for fold in (*manifest.folds, *manifest.finals) for p in leaks.of_parts(fold, pack)]
    problems += leaks.of_tests(manifest.folds, pack) + leaks.of_finals(manifest, pack)
    if problems:
        whose = f" (mend folds.from: {spec.from_}, or leave it out)" if spec.from_ else ""
        raise many(f"the folds are unsound{whose}", problems)
    leaking = [p for fold in (*manifest.folds, *manifest.finals) for p in leaks.of_units(fold, pack)]
    if leaking and not spec.allow_leak:
        grouped = "leave out folds.from" if spec.from_ else "set folds.group_by: both"  # given folds stay
        way_out = f"{grouped}, or folds.allow_leak: true to train all the same"
        raise many(f"the folds leak ({way_out})", leaking)
    warnings = (*leaks.allowed(leaking), *leaks.unprovable(pack), *leaks.uneven(manifest.folds))
    grouping = f"grouped by {spec.group_by}, stratified by {spec.stratify}"
    notes = (*manifest.notes, grouping, *pack.notes)
    return Manifest(manifest.folds, manifest.classes, manifest.seed, manifest.finals, notes, warnings)


def plain(table: Table, spec: Folds) -> tuple[list[Fold], list[Fold]]:
    everyone = np.arange(len(table.names), dtype=np.int64)
    return repeated(table, everyone, spec, None), []


def nested(table: Table, spec: Folds) -> tuple[list[Fold], list[Fold]]:
    """Inner folds see nothing of their outer fold's test part; the race's pick is trained on the rest."""
    everyone = np.arange(len(table.names), dtype=np.int64)
    dealt = deal(table, everyone, spec.outer, derive(spec.seed, OUTER))
    inner: list[Fold] = []
    finals: list[Fold] = []
    for outer in range(spec.outer):
        rest = everyone[dealt != outer]
        inner += repeated(table, rest, spec, outer)
        final = three_way(table, rest, everyone[dealt == outer], spec, (0, 0, outer + 1), f"o{outer}")
        finals.append(Fold(f"o{outer}", *final, repeat=0, fold=0, outer=outer))
    return inner, finals


def repeated(table: Table, rows: Rows, spec: Folds, outer: int | None) -> list[Fold]:
    folds = []
    level = 0 if outer is None else outer + 1
    for repeat in range(spec.repeats):
        dealt = deal(table, rows, spec.k, derive(spec.seed, SPLIT, repeat, level))
        for number in range(spec.k):
            name = fold_name(repeat, number, outer)
            rest, test = rows[dealt != number], rows[dealt == number]
            parts = three_way(table, rest, test, spec, (repeat, number + 1, level), name)
            folds.append(Fold(name, *parts, repeat=repeat, fold=number, outer=outer))
    return folds


def fold_name(repeat: int, fold: int, outer: int | None = None) -> str:
    return f"r{repeat}-f{fold}" if outer is None else f"o{outer}-r{repeat}-f{fold}"


Parts = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def three_way(table: Table, rest: Rows, test: Rows, spec: Folds, place: Sequence[int], name: str) -> Parts:
    """Sets the validation part aside from what is not tested."""
    try:
        held = hold_out(table, rest, spec.validation, derive(spec.seed, VALIDATION, *place))
    except SonotuneError as error:
        other = "other test folds" if spec.from_ else "another folds.seed, a larger folds.k"
        raise SonotuneError(
            f"fold {name}, train and validation: {str(error).partition(';')[0]}; the rest lies in its test "
            f"part: use {other} or drop the class from data.classes"
        ) from error
    return named(table, rest[~held]), named(table, rest[held]), named(table, test)


def named(table: Table, rows: Rows) -> tuple[str, ...]:
    return tuple(sorted(table.names[row] for row in rows))


def derive(seed: int, *purpose: int) -> int:
    """A seed of its own for each split, so that one more repeat changes none of the others."""
    return int(np.random.SeedSequence([seed, *purpose]).generate_state(1)[0])


def official(pack: Pack, table: Table, spec: Folds) -> list[Fold]:
    """The authors' test folds; the validation part is ours, dealt like any other."""
    without = [case for case, fold in zip(pack.cases, pack.official, strict=True) if fold is None]
    if without:
        raise SonotuneError(
            f"folds.from: official, but {leaks.some(without)} have no official fold; leave folds.from "
            "out, or give a file with the columns case and fold"
        )
    tests = dict(zip(pack.cases, map(int, pack.official), strict=True))  # type: ignore[arg-type]
    return from_tests(tests, table, spec)


def from_tests(tests: dict[str, int], table: Table, spec: Folds) -> list[Fold]:
    """Folds in the order of their given numbers, with `k` as many as there are."""
    numbers, given_by = sorted(set(tests.values())), f"folds.from: {spec.from_}"
    if len(numbers) < 2:
        raise SonotuneError(
            f"{given_by}: given folds must be at least 2, got fold {numbers[0]} for each case of "
            "data.classes; number the test folds, or leave folds.from out"
        )
    if "k" in spec.model_fields_set and spec.k != len(numbers):
        raise SonotuneError(f"folds.k is {spec.k}, but {len(numbers)} folds are given; leave k out")
    if spec.repeats > 1:
        raise SonotuneError(
            f"{given_by}: given folds cannot be repeated, got folds.repeats={spec.repeats}; leave repeats out"
        )
    given = np.array([tests[name] for name in table.names])
    folds = []
    for number, value in enumerate(numbers):
        rest, test = np.flatnonzero(given != value), np.flatnonzero(given == value)
        parts = three_way(table, rest, test, spec, (0, number + 1, 0), fold_name(0, number))
        folds.append(Fold(fold_name(0, number), *parts, repeat=0, fold=number))
    return folds


def adopted(path: Path, pack: Pack, spec: Folds) -> Manifest:
    """Folds of another study (JSON), or test folds of a table with the columns `case` and `fold` (CSV)."""
    if path.suffix == ".json":
        manifest = read_manifest(path, pack)
        whole = "; k, repeats, seed and validation are that file's"
    else:
        folds = from_tests(read_tests(path, pack), table_of(pack, spec), spec)
        manifest, whole = Manifest(tuple(folds), pack.classes, spec.seed), ""
    notes = (f"folds as given in {path.name}{whole}",)
    return checked(pack, spec, Manifest(manifest.folds, pack.classes, manifest.seed, manifest.finals, notes))
