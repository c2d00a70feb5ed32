"""The packed data set as one Arrow file: written aside and renamed, read back as a memory map."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.data.cases import Pack
from engine.storage import written_aside

VERSION = 5  # of the layout, of how it is made and what is noted; a file of another version is packed anew


def fingerprint(pack: Pack) -> str:
    """Of what is trained and tested on. Groups and notes may change without changing a result."""
    facts = [pack.cases, pack.classes, pack.patients, pack.official, pack.images.shape]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for array in (pack.images, pack.masks, pack.labels, pack.sizes, pack.spacing):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:20]


def write_pack(path: Path, pack: Pack) -> None:
    table = _to_batch(pack)
    with written_aside(path) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_batch(table)


def read_pack(path: Path) -> Pack | None:
    """Nothing when the file is missing, torn, of another version, or does not hold what its name says."""
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        pack = _from_batch(batch)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return pack if pack.fingerprint == path.stem == fingerprint(pack) else None


def _to_batch(pack: Pack) -> pa.RecordBatch:
    columns = {
        "case": pa.array(pack.cases, pa.string()),
        "label": pa.array(pack.labels, pa.int64()),
        "patient": pa.array(pack.patients, pa.string()),
        "group": pa.array(pack.groups, pa.string()),
        "height": pa.array(pack.sizes[:, 0], pa.int32()),
        "width": pa.array(pack.sizes[:, 1], pa.int32()),
        "spacing": pa.array(pack.spacing, pa.float64()),
        "official": pa.array(pack.official, pa.int64()),
        "image": _pixels(pack.images),
        "mask": _pixels(pack.masks),
    }
    facts = {"version": str(VERSION), "classes": json.dumps(pack.classes), "fingerprint": pack.fingerprint}
    return pa.record_batch(columns).replace_schema_metadata(facts)


def _pixels(array: np.ndarray) -> pa.Array:
    """[N, S, S] as one fixed-size cell per case, without a copy."""
    kind = pa.binary(array.shape[1] * array.shape[2])
    data = pa.py_buffer(np.ascontiguousarray(array))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(array), [None, data])


def _from_batch(batch: pa.RecordBatch) -> Pack:
    facts = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
    if facts["version"] != str(VERSION):
        raise ValueError(facts["version"])
    cases = tuple(batch.column("case").to_pylist())
    heights, widths = batch.column("height").to_numpy(), batch.column("width").to_numpy()
    return Pack(
        images=_squares(batch.column("image")),
        masks=_squares(batch.column("mask")),
        labels=batch.column("label").to_numpy(),
        cases=cases,
        classes=tuple(json.loads(facts["classes"])),
        patients=tuple(batch.column("patient").to_pylist()),
        groups=tuple(batch.column("group").to_pylist()),
        sizes=np.stack([heights, widths], axis=1),
        spacing=batch.column("spacing").to_numpy(zero_copy_only=False),
        official=tuple(batch.column("official").to_pylist()),
        fingerprint=facts["fingerprint"],
    )


def _squares(column: pa.Array) -> np.ndarray:
    """A view of the memory map, read-only."""
    side = round(column.type.byte_width**0.5)
    return np.frombuffer(column.buffers()[1], np.uint8, len(column) * side * side).reshape(
        len(column), side, side
    )


def named(pack: Pack) -> Pack:
    return replace(pack, fingerprint=fingerprint(pack))
