"""Which of its two figures a configuration stands for: with `predict.refine` on, that of refined predictions.

Both are stored, but what was scored while searching, and what `predict` gives, is one of them.
"""

from collections.abc import Mapping

import numpy as np

from reports.aggregate import Figures
from reports.measures import refines
from reports.run import Run


def refining(run: Run) -> frozenset[str]:
    """The configurations whose refined predictions are what counts."""
    return frozenset(config.id for config in run.configs if refines(config.config))


def name(known: Figures, config: str, metric: str, refining: frozenset[str]) -> str:
    """Raw where nothing of it is refined: who has one task has nothing to refine."""
    refined = f"refined_{metric}"
    if config not in refining or refined not in known.at:
        return metric
    at = known.row[config]
    figures = (known.of("test", name)[at] for name in known.at if name.startswith("refined_"))
    return refined if any(np.isfinite(values).any() for values in figures) else metric


def column(columns: Mapping[str, np.ndarray], at: int, metric: str, refined: bool) -> np.ndarray:
    """The same of case rows: [R]."""
    values = np.asarray(columns[f"refined_{metric}"][at]) if refined else None
    there = values is not None and (values >= 0).any()
    return values if values is not None and there else np.asarray(columns[metric][at])
