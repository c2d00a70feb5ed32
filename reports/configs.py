"""The complete configurations as one flat table: what varies between them, and how they scored."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.aggregate import Figures
from reports.events import drawn_by_log
from reports.run import Run
from reports.shape import model_of, settings

Row = dict[str, Any]


def flat(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """A configuration as leaves by path; lists count as one value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{path}.{key}" if path else str(key)
        found |= flat(value, name) if isinstance(value, Mapping) else {name: _scalar(value)}
    return found


def _scalar(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def frame(run: Run, known: Figures) -> list[Row]:
    """One row for each complete configuration: what varies, and its scores on every fold."""
    leaves = {config: flat(settings(run.by_id[config].config)) for config in known.configs}
    names = varying(list(leaves.values()))
    rows = []
    for c, config in enumerate(known.configs):
        scores = known.of("validation", "score")[c]
        row: Row = {"config_id": config} | {name: leaves[config].get(name) for name in names}
        spread = float(scores.std(ddof=1)) if len(scores) > 1 else math.nan
        row |= {"score_mean": float(scores.mean()), "score_std": spread}
        rows.append(row | {f"score_{f}": float(v) for f, v in zip(known.folds, scores, strict=True)})
    return rows


def varying(leaves: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the configurations that have it: a branch's own settings are all alike in it."""
    values: dict[str, set[str]] = {}
    for one in leaves:
        for name, value in one.items():
            values.setdefault(name, set()).add(repr(value))
    return [name for name, found in values.items() if len(found) > 1]


SWITCHES = 4  # more of them are what a search draws from, not what tells an ablation's rows apart


def switches(run: Run) -> dict[str, str]:
    """By configuration: words and on-or-off settings in which it may differ from others of its model."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for one in run.configs:
        groups.setdefault(model_of(one.config), {})[one.id] = flat(settings(one.config))
    found = {config: _switches(own, list(group.values())) for group in groups.values()
             for config, own in group.items()}  # fmt: skip
    return {config: told for config, told in found.items() if told}


def _switches(own: Mapping[str, Any], group: Sequence[Mapping[str, Any]]) -> str:
    names = [
        name
        for name in varying(group)
        if all(isinstance(one.get(name), str | bool | None) for one in group) and own.get(name) is not None
    ]
    last = Counter(name.rpartition(".")[2] for name in names)
    parts = [(end if last[end := name.rpartition(".")[2]] == 1 else name, own[name]) for name in names]
    return ", ".join(f"{name}: {short(value)}" for name, value in parts) if len(parts) <= SWITCHES else ""


def parameters(rows: Sequence[Row]) -> list[str]:
    return [key for key in rows[0] if key != "config_id" and not key.startswith("score_")] if rows else []


def short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as in the YAML
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def logarithmic(run: Run, rows: Sequence[Row]) -> frozenset[str]:
    """Parameters shown on logarithmic axes: as the search drew them; others when they spread widely."""
    known = {name: [row[name] for row in rows if row[name] is not None] for name in parameters(rows)}
    drawn = drawn_by_log(run.study)
    return frozenset(name for name, values in known.items()
                     if is_positive(values) and drawn.get(name, is_wide(values)))  # fmt: skip


def is_positive(values: Sequence[Any]) -> bool:
    """A side-by-side report may hold a run in which the others' logarithmic parameter is off."""
    return is_number(values) and min(values, default=0) > 0


def is_wide(values: Sequence[Any]) -> bool:
    """Over more than one and a half decades."""
    return is_positive(values) and max(values) / min(values) > 30


def unit(values: Sequence[Any], log: bool) -> np.ndarray:
    """Onto [0, 1]; what a configuration lacks lies in the middle."""
    known = [v for v in values if v is not None]
    if is_number(known):
        raw = np.array([np.nan if v is None else float(v) for v in values])
        raw = np.log(raw) if log else raw
        low, high = np.nanmin(raw), np.nanmax(raw)
        return np.nan_to_num((raw - low) / (high - low if high > low else 1), nan=0.5)
    words = sorted({str(v) for v in known})
    return np.array([words.index(str(v)) / max(1, len(words) - 1) if v is not None else 0.5 for v in values])
