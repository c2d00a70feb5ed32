"""The files of an audit."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.data.audit import Audit, Finding
from engine.data.curate import LeftOut, Rule, curate, manifest_rows
from engine.data.files import writing
from engine.data.groups import write_groups
from engine.data.page import render
from engine.errors import SonotuneError
from engine.storage import LocalStorage


def write_findings(audit: Audit, out: Path) -> None:
    folder = LocalStorage(out)
    with writing(out):
        folder.write("audit.parquet", _parquet(audit.findings))
        folder.write("audit.html", render(audit).encode())


def write_groups_of(audit: Audit, out: Path) -> Path:
    path = out / "groups.csv"
    write_groups(path, audit.group_of)
    return path


def write_curated(audit: Audit, rule: Rule, out: Path) -> tuple[int, list[LeftOut]]:
    """`curated.csv` holds what stays, `left_out.csv` what goes and why."""
    kept, gone = curate(audit, rule)
    if not kept:
        raise SonotuneError(f"--curate {rule} would leave no case of {len(audit.facts)}; nothing is written")
    folder = LocalStorage(out)
    folder.write("curated.csv", _csv(manifest_rows(kept, audit)))
    folder.write("left_out.csv", _csv([asdict(one) for one in gone], [one.name for one in fields(LeftOut)]))
    return len(kept), gone


def _parquet(findings: Sequence[Finding]) -> bytes:
    schema = pa.schema(
        [(one.name, pa.float64() if one.name == "value" else pa.string()) for one in fields(Finding)]
    )
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(finding) for finding in findings], schema), data)
    return data.getvalue()


def _csv(rows: Sequence[Mapping[str, object]], names: Sequence[str] = ()) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else list(names))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
