"""How much of the score's variance each hyperparameter explains."""

import math
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from reports.configs import Row, is_number, parameters
from reports.draw import SERIES, Canvas, Figure, draw
from reports.tables import Column, Table

TREES = 32
ENOUGH = 6  # complete configurations below which importance is noise
NOISE = 1e-9  # scores that differ by less are equal: there is nothing to explain


def importance(rows: Sequence[Row], logs: Container[str] = (), seed: int = 0) -> list[Row]:
    """Optuna's fANOVA over the complete configurations; what a branch lacks sits at its median."""
    names = parameters(rows)
    scores = np.array([row["score_mean"] for row in rows if math.isfinite(row["score_mean"])])
    if len(rows) < ENOUGH or not names or not len(scores) or np.ptp(scores) <= NOISE:
        return []
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    dimensions = {name: _dimension([row[name] for row in rows], name in logs) for name in names}
    for row in rows:
        if math.isfinite(row["score_mean"]):
            params = {name: _filled(row[name], dimensions[name][1]) for name in names}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions={n: d for n, (d, _) in dimensions.items()},
                    value=row["score_mean"],
                )
            )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return [{"parameter": name, "importance": float(share)} for name, share in found.items()]


def _dimension(values: Sequence[Any], log: bool) -> tuple[Any, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    known = [v for v in values if v is not None]
    if is_number(known):
        low, high = float(min(known)), float(max(known))
        return FloatDistribution(low, high, log=log), float(np.median(known))
    choices = sorted({str(v) for v in known})
    return CategoricalDistribution(choices), choices[0]


def _filled(value: Any, default: Any) -> Any:
    if value is None:
        return default
    return float(value) if isinstance(default, float) else str(value)


def importance_table(rows: Sequence[Row]) -> Table:
    columns = (Column("parameter", "Parameter", "text"), Column("importance", "Share of variance", "percent"))
    note = "fANOVA on the mean validation score of the complete configurations; under racing, survivors."
    return Table("importance", "Importance of hyperparameters", columns, rows, note)


def importance_figure(rows: Sequence[Row]) -> Figure:
    top = rows[:12]

    def paint(sheet: Canvas) -> None:
        axis = sheet.subplots()
        axis.barh([r["parameter"] for r in top][::-1], [r["importance"] for r in top][::-1], color=SERIES[0],
                  height=0.62)  # fmt: skip
        axis.grid(axis="y", visible=False)
        axis.set(xlabel="share of the variance of the score", xlim=(0, None))

    return draw(
        "importance", "Importance of hyperparameters", ("importance",), paint, 7.2, 0.8 + 0.24 * len(top)
    )
