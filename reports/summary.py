"""`summary.json`: what other programs read. Its shape is documented in docs/run-folder.md."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.errors import SonotuneError
from engine.storage import Storage
from reports.aggregate import Figures
from reports.choose import Pick
from reports.load import SPLITS, Config, Run
from reports.study import Study

SCHEMA = 1
PATH = "report/summary.json"


def summary(study: Study, extra: Mapping[str, Any]) -> dict[str, Any]:
    run, known, pick = study.run, study.known, study.pick
    place = {config: number for number, config in enumerate(known.configs)}
    return {
        "schema": SCHEMA,
        "study": run.name,
        "picked": _picked(run, pick),
        "configs": [_config(run, known, config, place.get(config.id)) for config in run.configs],
        "counts": _counts(run),
        "seconds": sum(r.seconds for c in run.configs for r in c.folds.values()),
        "problems": [f"{p.where}: {p.what}" for p in study.problems],
        **extra,
    }


def _picked(run: Run, pick: Pick | None) -> dict[str, Any] | None:
    if pick is None:
        return None
    config = run.by_id[pick.config_id].config
    return {"config_id": pick.config_id, "config": config, "rule": pick.rule, "reason": pick.reason}


def _config(run: Run, known: Figures, config: Config, place: int | None) -> dict[str, Any]:
    row = {
        "config_id": config.id, "config": config.config, "status": config.status,
        "folds_done": len(config.folds),
    }  # fmt: skip
    return row | {s: _figures(known, s, place) for s in SPLITS}


def _figures(known: Figures, split: str, place: int | None) -> dict[str, Any]:
    if place is None:
        return {}
    found = {}
    for metric, at in known.at.items():
        values = known.values[split][place, :, at]
        if np.isfinite(values).any():
            std = values.std(ddof=1) if len(values) > 1 else math.nan
            found[metric] = {"mean": float(values.mean()), "std": float(std), "folds": values.tolist()}
    return found


def _counts(run: Run) -> dict[str, int]:
    statuses = Counter(config.status for config in run.configs)
    return {"configs": len(run.configs), "folds": len(run.folds),
            "folds_done": sum(len(c.folds) for c in run.configs),
            **dict(sorted(statuses.items()))}  # fmt: skip


def dump(value: Any) -> bytes:
    """Strict JSON: what is not a number becomes null. Unindented, which is ten times quicker to write."""
    return (json.dumps(_strict(value), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _strict(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(below) for below in value]
    return value


def refuse_foreign(storage: Storage) -> None:
    """A report of another sonotune is not overwritten: somebody's programs read it."""
    if not storage.exists(PATH):
        return
    try:
        found = json.loads(storage.read(PATH)).get("schema")
    except (ValueError, AttributeError):
        found = "that cannot be read"
    if found != SCHEMA:
        raise SonotuneError(
            f"{storage.location}/{PATH} has schema {found}, this sonotune writes schema {SCHEMA}; "
            f"move the folder report/ away, or use the sonotune that wrote it"
        )
