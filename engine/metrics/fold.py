"""The figures of a fold, from its case rows. numpy and pyarrow only: reports recompute them anywhere.

Every figure is there twice: raw, and under `refined_` after prediction refining. A model with one task has
the figures of that task only.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import SonotuneError
from engine.metrics.classification import class_figures, confusion_of, probability_figures
from engine.metrics.refine import incoherent, normal_class
from engine.metrics.segmentation import lesion_figures, mean_figures, pooled_figures
from engine.results import MASK_METRICS, PER_MASK, SURFACE, case_schema

RAW, REFINED = "", "refined_"


def fold_metrics(cases: pa.Table, classes: Sequence[str]) -> dict[str, float]:
    """Every figure of the fold by name; `docs/metrics.md` has their formulas."""
    if cases.num_rows == 0:
        raise SonotuneError("a fold needs at least one case row to have figures, got 0")
    labels = class_indices(cases["label"], classes)
    figures: dict[str, float] = {}
    for prefix in (RAW, REFINED):
        found = mask_part(cases, prefix, labels, classes) | class_part(cases, prefix, labels, classes)
        found |= coherence_part(cases, prefix, classes)
        figures |= {prefix + name: value for name, value in found.items()}
    return figures


def figure_names(
    classes: Sequence[str], segments: bool, classifies: bool, surface: bool = True
) -> tuple[str, ...]:
    """What `fold_metrics` will hold for a model, so that an objective can be refused before any training.
    Epochs are scored without `surface` distances."""
    row: dict[str, object] = {"case": "", "label": classes[0]}
    if classifies:
        certain = [1.0] + [0.0] * (len(classes) - 1)
        row |= {"predicted": classes[0], "refined_predicted": classes[0], "probabilities": certain}
    if segments:
        scored = [name for name in PER_MASK if surface or name not in SURFACE]
        row |= {prefix + name: 0 for prefix in (RAW, REFINED) for name in scored}
    return tuple(fold_metrics(pa.Table.from_pylist([row], schema=case_schema()), classes))


def mask_part(cases: pa.Table, prefix: str, labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Case means, pooled figures and lesion detection; nothing for a model without masks."""
    if not _has(cases, prefix + "tp"):
        return {}
    there = [name for name in PER_MASK if _has(cases, prefix + name)]
    columns = {name: cases[prefix + name].to_numpy() for name in there}
    per_case = {name: columns[name] for name in MASK_METRICS if name in columns}
    figures = mean_figures(per_case, SURFACE, labels, classes)
    figures |= pooled_figures(columns, labels, classes)
    return figures | lesion_figures(columns, labels, classes)


def class_part(cases: pa.Table, prefix: str, labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Figures of the confusion matrix and of the probabilities; nothing for a model without classes."""
    if not _has(cases, "predicted"):
        return {}
    said = class_indices(cases[prefix + "predicted"], classes)
    figures = class_figures(confusion_of(labels, said, len(classes)), classes)
    return figures | probability_figures(_probabilities(cases, prefix, said, classes), labels, classes)


def coherence_part(cases: pa.Table, prefix: str, classes: Sequence[str]) -> dict[str, float]:
    """Share of cases whose class and mask contradict each other, where both and a normal class exist."""
    normal = normal_class(classes)
    if normal is None or not (_has(cases, "tp") and _has(cases, "predicted")):
        return {}
    empty = (cases[prefix + "tp"].to_numpy() + cases[prefix + "fp"].to_numpy()) == 0
    said = class_indices(cases[prefix + "predicted"], classes)
    return {"incoherent": float(incoherent(said, empty, normal).mean())}


def class_indices(column: pa.ChunkedArray, classes: Sequence[str]) -> np.ndarray:
    """Names -> positions in `classes`; a name outside of them is an error, never a silent row."""
    index = pc.index_in(column, value_set=pa.array(classes, pa.string()))
    if index.null_count:
        strangers = sorted(set(pc.unique(column).to_pylist()) - set(classes), key=str)
        raise SonotuneError(f"case rows hold the classes {strangers}, but the study has {list(classes)}")
    return index.to_numpy().astype(np.int64)


def _has(cases: pa.Table, column: str) -> bool:
    """Whether the rows carry a column; one with holes is damage, not a task that the model lacks."""
    holes = cases[column].null_count
    if 0 < holes < cases.num_rows:
        raise SonotuneError(f"case rows must have {column!r} in all rows or none, {holes} of them lack it")
    return holes == 0


def _probabilities(cases: pa.Table, prefix: str, said: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """[N, C]. Where refinement changed the class, it is certain of the new one."""
    flat = pc.list_flatten(cases["probabilities"]).to_numpy()
    if len(flat) != cases.num_rows * len(classes):
        raise SonotuneError(f"case rows need {len(classes)} probabilities each, one per class")
    probabilities = flat.reshape(-1, len(classes))
    if prefix == RAW:
        return probabilities
    changed = said != class_indices(cases["predicted"], classes)
    return np.where(changed[:, None], np.eye(len(classes))[said], probabilities)
