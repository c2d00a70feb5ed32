"""The figures of a fold, from its case rows. numpy and pyarrow only: reports recompute them anywhere."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import SonotuneError


def class_indices(column: pa.ChunkedArray, classes: Sequence[str]) -> np.ndarray:
    """Names -> positions in `classes`; a name outside of them is an error, never a silent row."""
    index = pc.index_in(column, value_set=pa.array(classes, pa.string()))
    if index.null_count:
        strangers = sorted(set(pc.unique(column).to_pylist()) - set(classes), key=str)
        raise SonotuneError(f"case rows hold classes {strangers}, the study has {list(classes)}")
    return index.to_numpy().astype(np.int64)


def confusion(cases: pa.Table, classes: Sequence[str], refined: bool = False) -> np.ndarray:
    """[C, C] counts: rows are true classes, columns predicted ones."""
    predicted = cases["refined_predicted" if refined else "predicted"]
    return confusion_of(
        class_indices(cases["label"], classes), class_indices(predicted, classes), len(classes)
    )


def confusion_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def quotient(part: np.ndarray, whole: np.ndarray, empty: np.ndarray | float) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), empty)


def class_figures(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Accuracy, F1 and the per-class figures of a confusion matrix.

    A class that was never predicted has precision 0; a class that is neither there nor predicted has no
    figures (NaN) and is left out of macro means, as in scikit-learn.
    """
    hits, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    total, absent = matrix.sum(), (true + said) == 0
    nothing = np.where(absent, np.nan, 0.0)
    each = {
        "precision": quotient(hits, said, nothing),
        "sensitivity": quotient(hits, true, np.nan),
        "specificity": quotient(total - true - said + hits, total - true, np.nan),
        "f1": quotient(2 * hits, true + said, np.nan),
    }
    figures = {"accuracy": float(hits.sum() / total), "balanced_accuracy": float(mean(each["sensitivity"]))}
    for name, values in each.items():
        figures[f"{name}_macro"] = mean(values)
        figures |= {f"{name}_{label}": float(v) for label, v in zip(classes, values, strict=True)}
    figures["f1_weighted"] = float(np.nansum(each["f1"] * true) / total)
    return figures


def mean(values: np.ndarray) -> float:
    """Mean of what is defined; NaN when nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def fold_metrics(cases: pa.Table, classes: Sequence[str]) -> dict[str, float]:
    """Every figure of the fold by name, raw, and refined under `refined_`."""
    figures: dict[str, float] = {}
    for prefix in ("", "refined_"):
        found = class_figures(confusion(cases, classes, bool(prefix)), classes)
        found |= {name: mean(cases[prefix + name].to_numpy()) for name in ("dice", "iou")}
        figures |= {prefix + name: value for name, value in found.items()}
    return figures
