"""Recorded learning curves, from a table or from run folders, as the simulator wants them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from engine.errors import SonotuneError
from engine.folder import manifest_in
from engine.journal.journal import read_journal
from engine.results import FoldResult, RunPaths, read_result, read_table
from engine.storage import Storage, open_storage
from engine.task import Task

SCORES = ("val_dice", "val_f1")
REPLAYED = ("main", "classify")  # stages whose score is the fold's


@dataclass(frozen=True)
class Table:
    """Curves of complete configurations. `scores` are best-so-far validation scores [N, K, E]."""

    name: str
    scores: np.ndarray
    test: np.ndarray  # [N]: mean over folds of the test score at the epoch the validation score chose
    seconds: np.ndarray  # [N]: of one epoch on one fold
    left_out: int = 0  # configurations that were not complete and cannot be replayed
    folds: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folds", tuple(f"r0-f{k}" for k in range(self.scores.shape[1])))

    @property
    def truth(self) -> np.ndarray:
        """Final mean validation score of every configuration."""
        return np.asarray(self.scores[:, :, -1].mean(1))

    @property
    def noise(self) -> float:
        """Pooled residual deviation of paired fold differences, the unit of regret."""
        final = self.scores[:, :, -1]
        residual = final - final.mean(1, keepdims=True) - final.mean(0) + final.mean()
        degrees = max((final.shape[0] - 1) * (final.shape[1] - 1), 1)
        return float(np.sqrt(2 * (residual**2).sum() / degrees)) or 1.0


def load_table(path: str, scores: Sequence[str] = SCORES) -> Table:
    """A Parquet file with `config`, `fold`, `epoch` and score columns; the mean of `scores` is replayed."""
    try:
        data = pq.read_table(path)
    except FileNotFoundError as error:
        raise SonotuneError(
            f"there is no {path}; give a Parquet file of learning curves, or a run folder"
        ) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise SonotuneError(f"{path} must be a Parquet file that can be read: {error}") from error
    tests = [name.replace("val_", "test_") for name in scores]
    missing = sorted({"config", "fold", "epoch", *scores} - set(data.column_names))
    if missing:
        raise SonotuneError(f"{path} must have the columns {missing}; it has {data.column_names}")
    _check(path, data, [*scores, *(name for name in (*tests, "seconds") if name in data.column_names)])
    values = _mean(data, scores)
    test = _mean(data, tests) if set(tests) <= set(data.column_names) else np.full(len(values), np.nan)
    seconds = data["seconds"].to_numpy() if "seconds" in data.column_names else np.ones(len(values))
    keys = [data[name].to_numpy(zero_copy_only=False) for name in ("config", "fold", "epoch")]
    return _arrange(path, keys, values, test, seconds)


def _check(path: str, data: pa.Table, numbers: Sequence[str]) -> None:
    """What cannot be replayed is told by its column; simulated time goes forward only."""
    words = [n for n in numbers if not (pt.is_integer(t := data[n].type) or pt.is_floating(t))]
    if words:
        raise SonotuneError(f"{path}: the columns {words} must be numbers")
    empty = [name for name in ("config", "fold", "epoch") if data[name].null_count]
    if empty:
        raise SonotuneError(f"{path}: the columns {empty} must have a value in every row")
    if "seconds" in numbers:
        _check_seconds(path, data["seconds"].to_numpy().astype(float), "row")


def _check_seconds(name: str, seconds: np.ndarray, each: str) -> None:
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise SonotuneError(f"{name}: seconds must be above 0 in every {each}")


def _mean(data: pa.Table, names: Sequence[str]) -> np.ndarray:
    return np.asarray(np.mean([data[name].to_numpy() for name in names], axis=0), dtype=float)


def _arrange(
    name: str,
    keys: list[np.ndarray],
    values: np.ndarray,
    test: np.ndarray,
    seconds: np.ndarray,
    held: bool = False,
    folds: int = 0,
) -> Table:
    """Rows into [config, fold, epoch]; what has a hole, or a score not finite, is left out and counted.
    `held`: a fold that ended early keeps its last score. `folds`: how many there are where not each is among
    the rows."""
    labels, places = zip(*(np.unique(key, return_inverse=True) for key in keys), strict=True)
    configs, known, epochs = (len(label) for label in labels)
    shape = (configs, max(folds, known), epochs)
    _check_once(name, keys, np.asarray(np.ravel_multi_index(places, shape)))
    raw, tests, pace = np.full(shape, np.nan), np.full(shape, np.nan), np.ones(shape[0])
    raw[places], tests[places] = values, test
    if held:
        raw, tests = _held(raw), _held(tests)
    pace[places[0]] = seconds / shape[2]
    whole = np.isfinite(raw).all(axis=(1, 2))
    if not whole.any():
        raise SonotuneError(f"{name} holds no configuration with all of its folds and epochs")
    raw, tests = raw[whole], tests[whole]
    chosen = np.take_along_axis(tests, raw.argmax(axis=2)[:, :, None], 2)[:, :, 0].mean(1)
    return Table(name, np.maximum.accumulate(raw, axis=2), chosen, pace[whole], int((~whole).sum()))


def _check_once(name: str, keys: list[np.ndarray], cells: np.ndarray) -> None:
    """Which of two scores of one epoch counts is nobody's guess."""
    _, first, counts = np.unique(cells, return_index=True, return_counts=True)
    if (counts > 1).any():
        config, fold, epoch = (key[first[counts > 1][0]] for key in keys)
        raise SonotuneError(
            f"{name}: config {config}, fold {fold}, epoch {epoch} has {counts.max()} rows; leave one of them"
        )


def _held(curves: np.ndarray) -> np.ndarray:
    """[N, K, E]: NaN after the last known epoch becomes what was known there."""
    known = ~np.isnan(curves)
    last = np.maximum.accumulate(np.where(known, np.arange(curves.shape[2]), 0), axis=2)
    return np.take_along_axis(curves, last, 2)


def load_run(location: str) -> Table:
    """The complete folds of a run folder; of a raced run only what was not dropped can be replayed. A nested
    design's last folds, which only picks train, are not among the folds of its manifest."""
    storage = open_storage(location)
    folds = manifest_in(storage).names if storage.list(RunPaths.results) else ()
    tasks = [Task(key, fold) for key in storage.list(RunPaths.results) for fold in folds]
    rows: list[tuple[str, str, int, float, float, float]] = []
    for task in tasks:
        result = read_result(storage, task)
        if result is not None and result.status == "complete" and result.stage in REPLAYED:
            rows += _fold_rows(storage, task, result)
    if not rows:
        raise SonotuneError(f"{location} holds no finished fold to replay")
    keys, numbers = zip(*((row[:3], row[3:]) for row in rows), strict=True)
    values, test, seconds = (np.array(column, dtype=float) for column in zip(*numbers, strict=True))
    _check_seconds(location, seconds, "finished fold")
    columns = [np.array(c) for c in zip(*keys, strict=True)]
    table = _arrange(location, columns, values, test, seconds, held=True, folds=len(folds))
    return replace(table, left_out=max(table.left_out, _opened(storage) - len(table.scores)))


def _opened(storage: Storage) -> int:
    """Most of what a race drops has no finished fold, and so no result to be counted by."""
    return sum(record["event"] == "opened" for record in read_journal(storage)[0])


def _fold_rows(
    storage: Storage, task: Task, result: FoldResult
) -> list[tuple[str, str, int, float, float, float]]:
    """One row per epoch of the main stage; a fold that ended early keeps its last score."""
    path = f"{RunPaths.result(task)}/epochs.parquet"
    try:
        epochs = read_table(storage, path).to_pydict()
    except FileNotFoundError as error:
        raise SonotuneError(f"{storage.location} has lost its {path}; put it back") from error
    told = [result.test[name] for name in ("dice", "f1_macro") if np.isfinite(result.test.get(name, np.nan))]
    test = float(np.mean(told)) if told else np.nan
    scores = [
        score
        for stage, score in zip(epochs["stage"], epochs["score"], strict=True)
        if stage in REPLAYED and score is not None
    ]
    return [
        (task.key, task.fold, epoch, float(score), test, result.seconds)
        for epoch, score in enumerate(scores, start=1)
    ]
