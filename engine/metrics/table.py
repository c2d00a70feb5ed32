"""From a fold's predictions to its case rows: scored, refined and scored again, without a loop over cases."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.metrics.case import Columns, erase, score_masks
from engine.metrics.refine import normal_class, refine
from engine.results import case_schema


def case_table(
    *,
    cases: Sequence[str],
    clusters: Sequence[str | None],
    labels: np.ndarray,
    classes: Sequence[str],
    truth: np.ndarray,
    predicted: np.ndarray | None,
    probabilities: np.ndarray | None,
    sizes: np.ndarray,
    spacing: np.ndarray,
    surface: bool = True,
) -> pa.Table:
    """Rows in `results.case_schema()`, for cases [N].

    truth, predicted: masks [N, H, W] of 0/1; probabilities: [N, classes]; labels: class indices; sizes:
    original (height, width) [N, 2]; spacing: mm per original pixel, NaN unknown. The columns of a task that
    the model does not have (None), and of distances that were not asked for, are null.
    """
    names = np.asarray(classes, dtype=object)
    scores = None if predicted is None else score_masks(truth, predicted, sizes, spacing, surface)
    said = None if probabilities is None else probabilities.argmax(1)
    columns: dict[str, object] = {"case": list(cases), "cluster": list(clusters), "label": names[labels]}
    columns |= _columns("", scores, said, names)
    columns |= _columns("refined_", *_refined(scores, said, classes), names)
    if probabilities is not None:
        columns["probabilities"] = _lists(probabilities)
    return _table(columns, len(labels))


def _refined(
    scores: Columns | None, predicted: np.ndarray | None, classes: Sequence[str]
) -> tuple[Columns | None, np.ndarray | None]:
    if scores is None or predicted is None:
        return scores, predicted
    erased, better = refine(predicted, (scores["tp"] + scores["fp"]) == 0, normal_class(classes))
    return erase(scores, erased), better


def _columns(
    prefix: str, scores: Columns | None, predicted: np.ndarray | None, names: np.ndarray
) -> dict[str, object]:
    columns: dict[str, object] = {prefix + name: values for name, values in (scores or {}).items()}
    if predicted is not None:
        columns[prefix + "predicted"] = names[predicted]
    return columns


def _lists(probabilities: np.ndarray) -> pa.ListArray:
    cases, classes = probabilities.shape
    offsets = pa.array(np.arange(cases + 1, dtype=np.int32) * classes)
    return pa.ListArray.from_arrays(offsets, pa.array(probabilities.astype(np.float64).ravel()))


def _table(columns: dict[str, object], rows: int) -> pa.Table:
    arrays = []
    for field in case_schema():
        values = columns.get(field.name)
        missing = pa.nulls(rows, field.type)
        arrays.append(missing if values is None else pa.array(values, field.type))
    return pa.table(arrays, schema=case_schema())
