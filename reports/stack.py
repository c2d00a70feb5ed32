"""The case rows of many configurations, laid on top of each other: the same row is the same case and fold.

Everything per case is computed on these arrays at once; no loop ever runs over rows.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reports.run import Problem, Run

CLASS_COLUMNS = ("predicted", "refined_predicted")
MASK_COLUMNS = ("tp", "fp", "fn", "dice", "iou", "hd95", "asd")
NUMBERS = (*MASK_COLUMNS, *(f"refined_{name}" for name in MASK_COLUMNS))
READERS = 4  # decoding Parquet lets other threads run, and an object store answers slowly
WHO = ("case", "cluster", "label")


@dataclass(frozen=True)
class Stack:
    """R rows (a case on a fold), C configurations. Classes are positions in `classes`; -1 is unknown."""

    configs: tuple[str, ...]
    classes: tuple[str, ...]
    cases: np.ndarray  # [R] names
    case: np.ndarray  # [R] position among the distinct cases, in the order of their names
    cluster: np.ndarray  # [R] position in `cluster_names`
    cluster_names: np.ndarray  # sorted, distinct
    label: np.ndarray  # [R]
    fold: np.ndarray  # [R] position in the run's folds
    columns: dict[str, np.ndarray]  # name -> [C, R]
    probabilities: np.ndarray  # [C, R, classes]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def row(self) -> dict[str, int]:
        return {config: number for number, config in enumerate(self.configs)}

    def pick(self, configs: Sequence[str]) -> "Stack":
        at = [self.row[config] for config in configs]
        columns = {name: values[at] for name, values in self.columns.items()}
        return replace(self, configs=tuple(configs), columns=columns, probabilities=self.probabilities[at])

    def rows(self, at: np.ndarray) -> "Stack":
        return replace(
            self, cases=self.cases[at], case=self.case[at], cluster=self.cluster[at], label=self.label[at],
            fold=self.fold[at], columns={name: values[:, at] for name, values in self.columns.items()},
            probabilities=self.probabilities[:, at],
        )  # fmt: skip

    def chances(self, prefix: str) -> np.ndarray:
        """[C, R, classes]; where refinement changed the class, it is certain of the new one."""
        if not prefix:
            return self.probabilities
        said = self.columns[f"{prefix}predicted"]
        changed = (said != self.columns["predicted"])[..., None]
        return np.where(changed, np.eye(len(self.classes))[said], self.probabilities)

    @property
    def clusters(self) -> int:
        return len(self.cluster_names)

    @property
    def grouped(self) -> bool:
        """Whether some cases belong together, so that cases are not independent of each other."""
        return self.clusters < len(np.unique(self.case))


def read(run: Run, split: str, configs: Sequence[str] | None = None) -> Stack:
    """Complete configurations only; one whose rows are not those of the others is left out and listed."""
    wanted = tuple(configs if configs is not None else (c.id for c in run.complete))
    who = _who(run, wanted, split)
    if who is None:
        return _empty(run)
    rows, folds = who
    bounds = np.searchsorted(folds, np.arange(len(run.folds) + 1))
    columns = {name: np.full((len(wanted), len(folds)), np.nan) for name in NUMBERS}
    columns |= {name: np.full((len(wanted), len(folds)), -1, np.int8) for name in CLASS_COLUMNS}
    chances = np.full((len(wanted), len(folds), len(run.classes)), np.nan)

    def fill(at: int) -> Problem | None:
        try:
            _fill(run, wanted[at], split, rows, bounds, at, columns, chances)
        except (ValueError, OSError, KeyError) as error:
            return Problem(f"results/{wanted[at]}", f"its {split} cases cannot be compared: {error}")
        return None

    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(fill, range(len(wanted))))
    good = [at for at, problem in enumerate(found) if problem is None]
    if len(good) < len(wanted):
        columns, chances = {name: values[good] for name, values in columns.items()}, chances[good]
    problems = tuple(problem for problem in found if problem)
    return _stack(run, tuple(wanted[at] for at in good), rows, folds, columns, chances, problems)


def _who(run: Run, configs: Sequence[str], split: str) -> tuple[pa.Table, np.ndarray] | None:
    """The first readable configuration says which rows there are."""
    for config in configs:
        try:
            parts = [run.cases(config, fold, split, WHO).sort_by("case") for fold in run.folds]
        except (ValueError, OSError, KeyError):
            continue
        folds = np.repeat(np.arange(len(parts)), [part.num_rows for part in parts])
        return pa.concat_tables(parts).combine_chunks(), folds
    return None


def _fill(
    run: Run, config: str, split: str, rows: pa.Table, bounds: np.ndarray, at: int,
    columns: dict[str, np.ndarray], chances: np.ndarray,
) -> None:  # fmt: skip
    names = ["case", *CLASS_COLUMNS, *NUMBERS, "probabilities"]
    classes = pa.array(run.classes, pa.string())
    for number, fold in enumerate(run.folds):
        low, high = bounds[number], bounds[number + 1]
        table = _aligned(run.cases(config, fold, split, names), rows["case"].slice(low, high - low))
        for name in NUMBERS:
            columns[name][at, low:high] = table[name].to_numpy()
        for name in CLASS_COLUMNS:
            columns[name][at, low:high] = _positions(table[name], classes)
        chances[at, low:high] = _chances(table["probabilities"], high - low, len(run.classes))


def _aligned(table: pa.Table, cases: pa.ChunkedArray) -> pa.Table:
    if table.num_rows == len(cases) and table["case"].equals(cases):
        return table
    where = pc.index_in(cases, value_set=table["case"].combine_chunks())
    if where.null_count or table.num_rows != len(cases):
        raise ValueError(f"it has {table.num_rows} rows where others have {len(cases)}, or other cases")
    return table.take(where)


def _positions(column: pa.ChunkedArray, classes: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=classes), -1).to_numpy())


def _chances(column: pa.ChunkedArray, rows: int, classes: int) -> np.ndarray:
    """A segmenter gives no probabilities: then they stay unknown."""
    flat = pc.list_flatten(column).to_numpy()
    return flat.reshape(rows, classes) if len(flat) == rows * classes else np.full((rows, classes), np.nan)


def _stack(
    run: Run, kept: tuple[str, ...], rows: pa.Table, folds: np.ndarray, columns: dict[str, np.ndarray],
    chances: np.ndarray, problems: tuple[Problem, ...],
) -> Stack:  # fmt: skip
    cases = rows["case"].to_numpy(zero_copy_only=False)
    clusters = pc.coalesce(rows["cluster"], rows["case"]).to_numpy(zero_copy_only=False)
    names, cluster = np.unique(clusters, return_inverse=True)
    return Stack(
        configs=kept, classes=run.classes, cases=cases,
        case=np.unique(cases, return_inverse=True)[1], cluster=cluster, cluster_names=names,
        label=_positions(rows["label"], pa.array(run.classes, pa.string())), fold=folds,
        columns=columns, probabilities=chances, problems=problems,
    )  # fmt: skip


def _empty(run: Run) -> Stack:
    none = np.zeros(0, np.int64)
    columns = {name: np.zeros((0, 0)) for name in (*NUMBERS, *CLASS_COLUMNS)}
    return Stack(
        (), run.classes, none, none, none, none, none, none, columns, np.zeros((0, 0, len(run.classes)))
    )
