"""Finds what has been trained before: in this run, or in runs named with `--reuse`."""

from collections.abc import Sequence

from engine.errors import SonotuneError, StorageError
from engine.ledger import Past
from engine.race.events import Status
from engine.results import (
    FIGURES,
    FoldResult,
    RunPaths,
    damaged_files,
    read_result,
    read_table,
    sound_record,
)
from engine.storage import Storage
from engine.task import Task


def stored(storage: Storage, task: Task, address: str, network: bool = False) -> FoldResult | None:
    """A sound, finished result of exactly this address, with its `network` where that is asked for and it has
    one; anything else counts as not trained. Where it cannot be read at all, nobody knows."""
    try:
        result = read_result(storage, task)
    except StorageError:
        raise
    except SonotuneError:
        return None
    if result is None or result.address != address or result.status == "failed":
        return None
    network = network and result.status == "complete"
    if network and not storage.exists(f"{RunPaths.checkpoint(task)}/best.pt"):
        return None
    return None if damaged_files(storage, task, result.files) else result


def intact(storage: Storage, task: Task, address: str) -> bool:
    """What `stored` asks, of thousands of results at a resume: checksums tell, figures need not be read."""
    try:
        record = sound_record(storage, task)
    except StorageError:
        raise
    except SonotuneError:
        return False
    if record is None or record.get("address") != address or record.get("status") == "failed":
        return False
    return not damaged_files(storage, task, record["files"])


def past_of(storage: Storage, task: Task, result: FoldResult) -> Past:
    """A fold that diverged in its first epoch has a table without rows, and so without columns."""
    rows = read_table(storage, f"{RunPaths.result(task)}/epochs.parquet").to_pylist()
    epochs = [(row["score"], tuple(row["values"])) for row in rows]
    status: Status = "diverged" if result.status == "diverged" else "complete"
    figures = {name: float(getattr(result, name)) for name in FIGURES} if status == "complete" else {}
    return Past(epochs, status, result.score, tuple(result.values), figures)


def adopt(
    here: Storage, others: Sequence[Storage], task: Task, address: str, network: bool = False
) -> Past | None:
    """A result of another run is copied, so that this run folder stays whole by itself."""
    for storage in (here, *others):
        result = stored(storage, task, address, network)
        if result is None:
            continue
        if storage is not here:
            _copy(storage, here, task, result)
        return past_of(here, task, result)
    return None


def _copy(source: Storage, target: Storage, task: Task, result: FoldResult) -> None:
    checkpoint = f"{RunPaths.checkpoint(task)}/best.pt"
    paths = [f"{RunPaths.result(task)}/{name}" for name in (*result.files, "result.json")]
    for path in [*([checkpoint] if source.exists(checkpoint) else []), *paths]:
        target.write(path, source.read(path))
