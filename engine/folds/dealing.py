"""Deals cases to parts so that what belongs together stays together and every part is alike.

A unit is what must not be cut: the cases of a patient, of a group of duplicates, or of both where they
share a case. A stratum is what must be spread evenly: a label, or a label and a third of its lesion sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.spec.folds import Folds
from engine.words import plural

Rows = NDArray[np.int64]

LARGEST_DENOMINATOR = 10  # a share is dealt as so many of at most ten parts, one below a tenth as one of more


@dataclass(frozen=True)
class Table:
    """The cases by stratum and name, so that the order in which a source lists them changes nothing."""

    names: tuple[str, ...]
    labels: Rows
    strata: Rows
    units: Rows
    classes: tuple[str, ...]

    def rows(self, names: Sequence[str]) -> Rows:
        place = {name: row for row, name in enumerate(self.names)}
        return np.array(sorted(place[name] for name in names), np.int64)

    @property
    def grouped(self) -> bool:
        return len(np.unique(self.units)) < len(self.units)


def table_of(pack: Pack, spec: Folds) -> Table:
    strata = strata_of(pack, spec)
    order = np.array(sorted(range(len(pack.cases)), key=lambda row: (strata[row], pack.cases[row])), np.int64)
    names = tuple(pack.cases[row] for row in order)
    units = renumbered(units_of(pack, spec)[order])
    return Table(names, np.asarray(pack.labels, np.int64)[order], strata[order], units, pack.classes)


def renumbered(units: Rows) -> Rows:
    """Numbers in order of first appearance, for the numbering too must not depend on the source's order."""
    _, first, inverse = np.unique(units, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def strata_of(pack: Pack, spec: Folds) -> Rows:
    """With `label_size`, each label in thirds by the rank of the lesion's area; normals stay whole."""
    labels = np.asarray(pack.labels, np.int64)
    if spec.stratify == "label":
        return labels
    areas = np.asarray(pack.masks).reshape(len(labels), -1).sum(1, dtype=np.int64)
    thirds = np.zeros_like(labels)
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (areas > 0))
        ranked = rows[np.lexsort((np.array(pack.cases)[rows], areas[rows]))]
        thirds[ranked] = np.arange(len(ranked)) * 3 // max(len(ranked), 1)
    return labels * 3 + thirds


def units_of(pack: Pack, spec: Folds) -> Rows:
    """Connected components of the graph that joins a case to its patient and to its group of duplicates.
    scipy is imported when it is needed: workers start sooner without it."""
    count = len(pack.cases)
    ties: list[Sequence[str | None]] = []
    if spec.group_by in ("patient", "both"):
        ties.append(pack.patients)
    if spec.group_by in ("duplicates", "both"):
        ties.append(pack.groups)
    nodes: dict[tuple[int, str], int] = {}
    edges = [
        (row, count + nodes.setdefault((kind, name), len(nodes)))
        for kind, tie in enumerate(ties)
        for row, name in enumerate(tie)
        if name is not None
    ]
    if not edges:
        return np.arange(count, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(edges).T
    total = count + len(nodes)
    graph = coo_array((np.ones(len(edges), np.int8), (ends[0], ends[1])), shape=(total, total))
    return connected_components(graph, directed=False)[1][:count].astype(np.int64)


def deal(table: Table, rows: Rows, parts: int, seed: int) -> Rows:
    """The part 0..parts-1 of each row; ungrouped, each stratum differs by one case at most between parts."""
    return repaired(table, rows, stratified(table, rows, parts, seed), parts)


def stratified(table: Table, rows: Rows, parts: int, seed: int) -> Rows:
    """Where even the largest stratum is smaller than `parts`, by label alone."""
    strata, units, labels = table.strata[rows], table.units[rows], table.labels[rows]
    if np.bincount(labels).max() < parts or len(np.unique(units)) < parts:
        raise scarce(table.classes[labels[0]], labels, units, int(labels[0]), parts)
    strata = strata if np.bincount(strata).max() >= parts else labels
    return evenly(strata, units, parts, np.random.default_rng(seed))


def evenly(strata: Rows, units: Rows, parts: int, generator: np.random.Generator) -> Rows:
    """Each unit, the largest first, to the part that leaves the strata most even, then to the smallest.

    What a choice adds to the sum of the squared shares of all strata in all parts is, but for a constant,
    the sum over the unit's cases that is compared here. Single cases come last, a stratum at a time: they
    level what the units before them left, and among themselves differ by one between parts at most.
    """
    units, strata = (np.unique(each, return_inverse=True)[1] for each in (units, strata))
    counts = np.zeros((units.max() + 1, strata.max() + 1), np.int64)
    np.add.at(counts, (units, strata), 1)
    added = counts / np.square(counts.sum(0))
    shuffled, tie = generator.permutation(len(counts)), generator.permutation(parts)
    order = shuffled[np.lexsort((counts.argmax(1)[shuffled], -counts.sum(1)[shuffled]))]
    held = np.zeros((parts, counts.shape[1]), np.int64)
    dealt = np.empty(len(counts), np.int64)
    for unit in order:
        uneven = (held * added[unit]).sum(1)
        dealt[unit] = np.lexsort((tie, held.sum(1), uneven))[0]
        held[dealt[unit]] += counts[unit]
    return dealt[units]


def hold_out(table: Table, rows: Rows, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows make up the given share, at least one unit of each class in and out of it."""
    if table.grouped:
        fraction = as_parts(
            share, min(int(np.bincount(table.labels[rows]).max()), len(np.unique(table.units[rows])))
        )
        dealt = stratified(table, rows, fraction.denominator, seed)
        held = np.isin(dealt, nearest(np.bincount(dealt), share * len(rows), fraction.numerator))
    else:
        held = every_so_often(table.strata[rows], share, np.random.default_rng(seed))
    return repaired(table, rows, held.astype(np.int64), 2).astype(bool)


def nearest(sizes: Rows, wanted: float, count: int) -> Rows:
    """The parts closest to the wanted size together: a unit as large as a part should rather train."""
    return np.argsort(np.abs(sizes - wanted / count), kind="stable")[:count]


def as_parts(share: float, largest: int) -> Fraction:
    """The share as so many of at most ten equal parts, of more only where it, or what it leaves, is below a
    tenth, and of no more than the largest class, or the number of units, can fill."""
    fine = round(min(1 / min(share, 1 - share), largest))
    most = max(min(max(LARGEST_DENOMINATOR, fine), largest), 2)
    return min(max(Fraction(share).limit_denominator(most), Fraction(1, most)), Fraction(most - 1, most))


def every_so_often(strata: Rows, share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Systematic sampling of shuffled strata: in every stratum within one case of its exact share."""
    shuffled = np.lexsort((generator.random(len(strata)), strata))
    steps = np.floor(np.arange(len(strata) + 1) * share + generator.random())
    held = np.empty(len(strata), bool)
    held[shuffled] = np.diff(steps) > 0
    return held


def repaired(table: Table, rows: Rows, dealt: Rows, parts: int) -> Rows:
    """Moves the smallest unit that can be spared to each part that a class was left out of."""
    dealt, labels, units = dealt.copy(), table.labels[rows], table.units[rows]
    for label in np.unique(labels):
        for part in range(parts):
            if not np.any((labels == label) & (dealt == part)):
                unit = spare(labels, units, dealt, int(label))
                if unit is None:
                    raise scarce(table.classes[label], labels, units, int(label), parts)
                dealt[units == unit] = part
    return dealt


def spare(labels: Rows, units: Rows, dealt: Rows, label: int) -> int | None:
    """The smallest unit with that label whose part keeps each of its classes without it."""
    candidates = np.unique(units[labels == label])
    sizes = {int(unit): int(np.sum(units == unit)) for unit in candidates}
    for unit in sorted(sizes, key=lambda unit: (sizes[unit], unit)):
        inside = units == unit
        stays = (dealt == dealt[inside][0]) & ~inside
        if set(labels[inside]) <= set(labels[stays]):
            return unit
    return None


def scarce(name: str, labels: Rows, units: Rows, label: int, parts: int) -> SonotuneError:
    count = len(np.unique(units[labels == label]))
    why, other = (
        ("too few", "") if count < parts else ("too mixed with other classes", "another folds.seed, ")
    )
    return SonotuneError(
        f"class {name} has {plural(count, 'separable unit')} (cases, or groups of cases that must stay "
        f"together), {why} to lie in each of {parts} parts; use {other}a smaller folds.k or drop the "
        "class from data.classes"
    )
