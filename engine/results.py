"""Where everything of a run lies, what its tables hold, and how a fold's result is written and read.

A fold's result is a folder of whole files; `result.json` is written last and carries the checksum of
each other file, so that a result either is there and sound or counts as not there at all.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from engine.errors import SonotuneError
from engine.storage import Storage
from engine.task import Task

RESULT_SCHEMA = 1
FIGURES = ("latency_ms", "parameters", "flops")  # of a result, what `search.constraints` can bound
WRITERS = 8
LARGEST = 512 * 1024**2  # bytes of a table, unpacked; a fold of 100,000 cases has a tenth of it

# Columns of an epoch's row that are always there; `train_*` and `validation_*` columns follow.
EPOCH_COLUMNS = ("stage", "epoch", "lr", "seconds", "images_per_second", "score", "best")

# What is measured of one mask. Distances between surfaces are NaN where one of the masks is empty.
MASK_COUNTS = ("tp", "fp", "fn", "tn")
SURFACE = ("hausdorff", "hd95", "hd95_directed", "asd", "assd")
MASK_METRICS = ("dice", "iou", "pixel_accuracy", "precision", "recall", "specificity", *SURFACE)
LESION_COUNTS = ("lesions", "lesions_hit", "lesions_false")
PER_MASK = MASK_COUNTS + MASK_METRICS + LESION_COUNTS


def case_schema() -> pa.Schema:
    """One row per case: who it is, what was said of it, raw and refined (`refined_` columns)."""
    count = {*MASK_COUNTS, *LESION_COUNTS}
    columns = [("case", pa.string()), ("cluster", pa.string()), ("label", pa.string()),
               ("predicted", pa.string()), ("refined_predicted", pa.string()),
               ("probabilities", pa.list_(pa.float64()))]  # fmt: skip
    for prefix in ("", "refined_"):
        columns += [(prefix + name, pa.int64() if name in count else pa.float64()) for name in PER_MASK]
    return pa.schema(columns)


@dataclass(frozen=True)
class FoldResult:
    """The end of one task. `validation` and `test` hold the fold figures of `metrics/fold.py`."""

    key: str
    fold: str
    status: str  # complete | diverged | failed
    config: Mapping[str, Any]
    classes: Sequence[str]
    address: str
    stage: str = "main"
    best_epoch: int = 0
    epochs: int = 0
    score: float | None = None  # of the best epoch; the mean of `values`
    values: Sequence[float] = ()  # of each objective, higher is better
    validation: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    train_cases: int = 0
    test_cases: int = 0
    seconds: float = 0.0
    parameters: int = 0
    flops: int = 0
    latency_ms: float = 0.0
    peak_memory_mb: float = 0.0
    micro_batches: int = 1  # parts of each batch; more than asked for where memory ran out
    numerics: Mapping[str, Any] = field(default_factory=dict)
    worker: str = ""
    hardware: str = ""  # the processor or the GPU that trained it
    started: float = 0.0  # seconds since the epoch
    warnings: Sequence[str] = ()
    error: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    schema: int = RESULT_SCHEMA


RESULT = TypeAdapter(FoldResult)  # once: a resume reads thousands


class RunPaths:
    """Every path of a run folder, relative to its storage. No other place builds one."""

    study = "study.yaml"
    folds = "folds.json"
    journal = "journal.jsonl"
    segments = "journal"  # numbered journal segments, on object stores
    optuna = "optuna.log"
    provenance = "provenance.json"
    log = "run.log"
    lock = "lock"
    results = "results"
    checkpoints = "checkpoints"
    report = "report"

    @staticmethod
    def result(task: Task) -> str:
        return f"results/{task.folder}"

    @staticmethod
    def checkpoint(task: Task) -> str:
        return f"checkpoints/{task.folder}"


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_table(storage: Storage, path: str) -> pa.Table:
    data = storage.read(path)
    try:
        table = measured(pa.BufferReader(data), path).read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SonotuneError(f"{path} is not a whole Parquet file ({error}); it is damaged") from error
    return table


def measured(source: Any, name: str, largest: int = LARGEST) -> pq.ParquetFile:
    """A Parquet file of which reading takes no more than it may: a small one can hold very long runs."""
    file = pq.ParquetFile(source)
    meta = file.metadata
    said = sum(meta.row_group(number).total_byte_size for number in range(meta.num_row_groups))
    size = max(said, 8 * meta.num_rows * meta.num_columns)
    if size > largest:
        raise SonotuneError(f"table {name!r} has {size:,} bytes unpacked; at most {largest:,} are read")
    return file


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_result(storage: Storage, task: Task, result: FoldResult, files: Mapping[str, bytes]) -> None:
    """The files first, side by side since each waits for its disk or store; `result.json` with their
    checksums last."""
    folder = RunPaths.result(task)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda name: storage.write(f"{folder}/{name}", files[name]), files))
    record = asdict(result) | {"files": {name: digest(data) for name, data in sorted(files.items())}}
    body = json.dumps(record, sort_keys=True, allow_nan=True)
    envelope = {"sha256": digest(body.encode()), "result": json.loads(body)}
    storage.write(f"{folder}/result.json", (json.dumps(envelope, sort_keys=True, indent=1) + "\n").encode())


def read_result(storage: Storage, task: Task) -> FoldResult | None:
    """None when the fold has not ended; an error naming the file when it is damaged or foreign."""
    record = sound_record(storage, task)
    return None if record is None else _result(record, task, f"{RunPaths.result(task)}/result.json")


def sound_record(storage: Storage, task: Task) -> dict[str, Any] | None:
    """A result's plain data as they were written."""
    path = f"{RunPaths.result(task)}/result.json"
    try:
        envelope = json.loads(storage.read(path))
        record = envelope["result"]
        sound = digest(json.dumps(record, sort_keys=True, allow_nan=True).encode()) == envelope["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SonotuneError(f"{path} cannot be read ({error}); it is damaged") from error
    if not sound:
        raise SonotuneError(f"{path} does not match its own checksum; it is damaged")
    if not isinstance(record, dict) or record.get("schema") != RESULT_SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else None
        raise SonotuneError(f"{path} has schema {found}, this sonotune reads {RESULT_SCHEMA}")
    return record


def _result(record: Mapping[str, Any], task: Task, path: str) -> FoldResult:
    """A checksum says that a file is whole, not that we wrote it: each field must be what it should be."""
    try:
        result = RESULT.validate_python(record)
    except ValidationError as error:
        places = ", ".join(str(one["loc"][0]) for one in error.errors())
        raise SonotuneError(f"{path} has a wrong or missing {places}; it is damaged or foreign") from error
    if (result.key, result.fold) != (task.key, task.fold):
        raise SonotuneError(f"{path} is the result of {result.key}/{result.fold}; it lies in a wrong folder")
    return result


def damaged_files(storage: Storage, task: Task, files: Mapping[str, str]) -> list[str]:
    """Names of a result's files that are missing or do not match their checksum."""
    folder = RunPaths.result(task)

    def sound(name: str, wanted: str) -> bool:
        try:
            return digest(storage.read(f"{folder}/{name}")) == wanted
        except FileNotFoundError:
            return False

    return [name for name, wanted in files.items() if not sound(name, wanted)]
