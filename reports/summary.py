"""`summary.json`: what other programs read. Its shape is documented in docs/run-folder.md."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.errors import SonotuneError
from engine.storage import Storage
from reports.aggregate import Figures, deviation
from reports.choose import Pick
from reports.run import SPLITS, Config, Run
from reports.study import Study

SCHEMA = 1
PATH = "report/summary.json"


def summary(study: Study, extra: Mapping[str, Any]) -> dict[str, Any]:
    run, known, pick = study.run, study.known, study.pick
    measured = {split: _figures(known, split) for split in SPLITS}
    return {
        "schema": SCHEMA,
        "study": run.name,
        "picked": _picked(run, pick),
        "configs": [_config(config, measured) for config in run.configs],
        "counts": _counts(run),
        "seconds": sum(r.seconds for c in run.configs for r in c.folds.values()),
        "problems": [f"{p.where}: {p.what}" for p in study.problems],
        **_strict(extra),
    }


def _picked(run: Run, pick: Pick | None) -> dict[str, Any] | None:
    if pick is None:
        return None
    config = _strict(run.by_id[pick.config_id].config)
    return {"config_id": pick.config_id, "config": config, "rule": pick.rule, "reason": pick.reason}


def _config(config: Config, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    row = {
        "config_id": config.id, "config": _strict(config.config), "status": config.status,
        "folds_done": len(config.folds),
    }  # fmt: skip
    return row | {split: measured[split].get(config.id, {}) for split in SPLITS}


def _figures(known: Figures, split: str) -> dict[str, dict[str, Any]]:
    """Of every complete configuration at once: a study has a hundred thousand of these numbers."""
    if not known.configs:
        return {}
    values = known.values[split].transpose(0, 2, 1)  # [configs, metrics, folds]
    there = np.isfinite(values).any(axis=-1)
    mean, std, folds = (_nulled(v) for v in (values.mean(axis=-1), deviation(values), values))
    return {
        config: {metric: {"mean": mean[c][m], "std": std[c][m], "folds": folds[c][m]}
                 for m, metric in enumerate(known.metrics) if there[c, m]}
        for c, config in enumerate(known.configs)
    }  # fmt: skip


def _nulled(values: np.ndarray) -> list[Any]:
    """Lists in which what is undefined is None."""
    return list(np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist())


def _counts(run: Run) -> dict[str, int]:
    statuses = Counter(config.status for config in run.configs)
    return {"configs": len(run.configs), "folds": len(run.folds),
            "folds_done": sum(len(c.folds) for c in run.configs),
            **dict(sorted(statuses.items()))}  # fmt: skip


def dump(value: Any) -> bytes:
    """Strict JSON. Unindented, which is ten times quicker to write."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _strict(value: Any) -> Any:
    """What is not a number becomes null."""
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
