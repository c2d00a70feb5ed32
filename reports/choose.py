"""The pick of a study: which configurations may be picked, what its rule reads of them, and its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import SonotuneError
from engine.picking import READ_METRICS, RULES, Evidence
from engine.results import FIGURES
from engine.spec.select import Select
from reports.aggregate import Figures
from reports.measures import higher_is_better, objective, refines
from reports.reasons import REASONS
from reports.run import Run


@dataclass(frozen=True)
class Pick:
    config_id: str
    rule: str
    reason: str


def eligible(run: Run, known: Figures) -> Figures:
    """Without what breaks a bound of `search.constraints`: that may be trained, but is not picked."""
    search = run.study.get("search")
    bounds = search.get("constraints") if isinstance(search, Mapping) else None
    kept = [c for c in known.configs if _within(run, c, bounds if isinstance(bounds, Mapping) else {})]
    return known.only(kept)


def _within(run: Run, config: str, bounds: Mapping[str, Any]) -> bool:
    results = run.by_id[config].folds.values()
    return all(
        max(float(getattr(r, name)) for r in results) <= float(bound)
        for name, bound in bounds.items()
        if bound is not None and name in FIGURES
    )


def choose(run: Run, known: Figures, select: Select) -> Pick | None:
    """None when no eligible configuration has all of its folds."""
    if not known.configs:
        return None
    metrics = metrics_of(run, select)
    evidence = evidence_of(run, known, select, metrics)
    best = int(RULES[select.rule](evidence))
    reason = REASONS[select.rule](evidence, best, known.configs, select, metrics)
    return Pick(known.configs[best], select.rule, reason)


def metrics_of(run: Run, select: Select) -> tuple[str, ...]:
    prefix = "refined_" if refines(run.study) else ""
    return select.metrics or tuple(dict.fromkeys(prefix + m for one in objective(run.study) for m in one))


def evidence_of(run: Run, known: Figures, select: Select, metrics: Sequence[str]) -> Evidence:
    unknown = [m for m in metrics if m not in known.at]
    if unknown and select.rule in READ_METRICS:
        raise SonotuneError(
            f"select.metrics names {unknown[0]!r}, which the run did not measure; it has "
            f"{', '.join(known.metrics)}"
        )
    several = [
        known.of("validation", m) * (1 if higher_is_better(m) else -1) for m in metrics if m in known.at
    ]
    shape = (0, len(known.configs), len(known.folds))
    return Evidence(
        scores=known.of("validation", "score"),
        several=np.stack(several) if several else np.zeros(shape),
        cost=costs(run, known.configs, select.cost),
        ratio=known.ratio["validation"],
        confidence=select.confidence,
    )


def costs(run: Run, configs: Sequence[str], cost: str) -> np.ndarray:
    """Parameters and operations of one network; seconds of all folds together."""
    fold = sum if cost == "seconds" else max
    return np.array([float(fold(getattr(r, cost) for r in run.by_id[c].folds.values())) for c in configs])
