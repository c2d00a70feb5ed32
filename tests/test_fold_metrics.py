"""A fold's figures: means over its cases and over its pixels, what has none, what has a name."""

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as sk

from engine.errors import SonotuneError
from engine.metrics.fold import figure_names, fold_metrics
from engine.metrics.segmentation import pooled_figures
from engine.results import MASK_METRICS, PER_MASK, case_schema, parquet_bytes
from tests.scored import CLASSES, ellipses, rows, stack, unscaled


def test_a_case_table_has_the_schema_and_every_name() -> None:
    table = rows(20)
    assert table.schema == case_schema()
    assert set(PER_MASK) == set(unscaled(ellipses(3, 16, 0), ellipses(3, 16, 1)))
    again = pq.read_table(pa.BufferReader(parquet_bytes(table)))
    np.testing.assert_equal(fold_metrics(again, CLASSES), fold_metrics(table, CLASSES))


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "precision", "recall"),
    [(0, 0, 5, 0.0, 0.0), (0, 5, 0, 0.0, 0.0), (0, 0, 0, 1.0, 1.0), (3, 1, 3, 0.75, 0.5)],
)
def test_pooled_precision_and_recall_where_nothing_was_said_or_is_there(tp, fp, fn, precision, recall):
    columns = {name: np.array([n]) for name, n in (("tp", tp), ("fp", fp), ("fn", fn), ("tn", 9))}
    found = pooled_figures(columns, np.array([0]), ("benign",))
    assert found["mask_precision_pooled"] == found["mask_precision_pooled_benign"] == precision
    assert found["mask_recall_pooled"] == found["mask_recall_pooled_benign"] == recall


def test_fold_figures_of_masks_are_means_over_cases_and_pooled_ones_are_not() -> None:
    truth = np.concatenate([stack("####"), stack("#...")])
    said = np.concatenate([stack("####"), stack(".#..")])
    sizes = np.tile([1, 4], (2, 1))
    figures = fold_metrics(
        rows(2, truth=truth, predicted=said, labels=np.array([0, 1]), sizes=sizes), CLASSES
    )
    assert (figures["dice"], figures["iou"]) == (0.5, 0.5)
    assert (figures["dice_benign"], figures["dice_malignant"]) == (1.0, 0.0)
    assert figures["dice_pooled"] == pytest.approx(8 / 10)
    assert figures["iou_pooled"] == pytest.approx(4 / 6)
    assert figures["mask_precision"] == 0.5
    assert figures["hausdorff"] == pytest.approx(0.5)
    assert (figures["lesion_recall"], figures["lesion_precision"]) == (0.5, 0.5)


@pytest.mark.parametrize("prefix", ["", "refined_"])
def test_each_figure_of_masks_is_the_mean_of_its_own_column(prefix: str) -> None:
    """Of all cases and of those of a class, under the name that no figure of classes has."""
    table = rows(40)
    figures, labels = fold_metrics(table, CLASSES), np.array(table["label"].to_pylist())
    assert {"precision", "recall", "specificity"} < set(MASK_METRICS)
    for column in MASK_METRICS:
        values = table[prefix + column].to_numpy()
        name = f"mask_{column}" if column in ("precision", "recall", "specificity") else column
        assert figures[prefix + name] == pytest.approx(np.nanmean(values))
        for label in CLASSES:
            own = values[labels == label]
            mean = np.nanmean(own) if np.isfinite(own).any() else np.nan
            assert figures[f"{prefix}{name}_{label}"] == pytest.approx(mean, nan_ok=True)


def test_undefined_distances_are_left_out_and_counted() -> None:
    truth = np.concatenate([stack("##.."), stack("...."), stack("#...")])
    said = np.concatenate([stack("..##"), stack("#..."), stack("....")])
    table = rows(3, truth=truth, predicted=said, labels=np.array([0, 2, 1]), sizes=np.tile([1, 4], (3, 1)))
    figures = fold_metrics(table, CLASSES)
    assert (figures["hausdorff"], figures["hausdorff_undefined"]) == (2.0, 2)
    assert (figures["hd95_undefined_benign"], figures["hd95_undefined_normal"]) == (0, 1)
    assert math.isnan(figures["hd95_normal"])


def test_pooled_figures_agree_with_scikit_learn_over_all_pixels() -> None:
    truth, said = ellipses(30, 24, 5), ellipses(30, 24, 6)
    figures = fold_metrics(rows(30, truth=truth, predicted=said), CLASSES)
    t, p = truth.ravel(), said.ravel()
    assert figures["dice_pooled"] == pytest.approx(sk.f1_score(t, p))
    assert figures["iou_pooled"] == pytest.approx(sk.jaccard_score(t, p))
    assert figures["pixel_accuracy_pooled"] == pytest.approx(sk.accuracy_score(t, p))
    assert figures["mask_recall_pooled"] == pytest.approx(sk.recall_score(t, p))


def test_a_model_of_one_task_has_the_figures_of_that_task_only() -> None:
    masks_only = fold_metrics(rows(10, probabilities=None), CLASSES)
    classes_only = fold_metrics(rows(10, predicted=None), CLASSES)
    assert "dice" in masks_only
    assert not {"accuracy", "incoherent"} & set(masks_only)
    assert "refined_f1_macro" in classes_only
    assert not {"dice", "incoherent"} & set(classes_only)


@pytest.mark.parametrize("surface_asked", [True, False])
@pytest.mark.parametrize("missing", ["predicted", "probabilities", None])
def test_the_names_of_all_figures_are_known_beforehand(missing: str | None, surface_asked: bool) -> None:
    changes: dict[str, object] = {} if missing is None else {missing: None}
    figures = fold_metrics(rows(10, surface=surface_asked, **changes), CLASSES)
    names = figure_names(CLASSES, missing != "predicted", missing != "probabilities", surface_asked)
    assert names == tuple(figures)


def test_every_figure_and_every_case_column_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    ends = tuple(f"_{name}" for name in CLASSES)
    names = {n.removeprefix("refined_") for n in figure_names(CLASSES, True, True)}
    whole = {n for n in names if not n.endswith(ends)} | {"sensitivity_<class>", "auc_<class>"}
    assert [n for n in sorted(whole | set(PER_MASK)) if f"`{n}`" not in page] == []


def test_distances_that_were_not_asked_for_are_not_called_undefined() -> None:
    figures = fold_metrics(rows(10, surface=False), CLASSES)
    assert "dice" in figures
    assert not any("hd95" in name or "asd" in name for name in figures)


def test_a_label_outside_of_the_classes_is_an_error() -> None:
    with pytest.raises(SonotuneError, match=r"'normal'.*but the study has \['benign', 'malignant'\]"):
        fold_metrics(rows(30), CLASSES[:2])


def test_no_rows_and_damaged_rows_are_errors() -> None:
    with pytest.raises(SonotuneError, match="at least one case row"):
        fold_metrics(rows(3).slice(0, 0), CLASSES)
    table = rows(3)
    holed = table.set_column(table.schema.get_field_index("tp"), "tp", pa.array([1, None, 2], pa.int64()))
    with pytest.raises(SonotuneError, match="all rows or none"):
        fold_metrics(holed, CLASSES)
    with pytest.raises(SonotuneError, match="one per class"):
        fold_metrics(table, (*CLASSES, "other"))


def test_every_figure_is_there_raw_and_refined() -> None:
    names = set(fold_metrics(rows(50), CLASSES))
    raw = {name for name in names if not name.startswith("refined_")}
    assert names == raw | {f"refined_{name}" for name in raw}


def test_fold_figures_need_neither_torch_nor_ray() -> None:
    code = (
        "import sys, engine.metrics.fold; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'monai', 'scipy', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_million_case_rows_are_summed_up_within_seconds() -> None:
    small = rows(1000)
    many = pa.concat_tables([small] * 1000)
    began = time.process_time()
    figures = fold_metrics(many, CLASSES)
    assert time.process_time() - began < 10
    assert figures["dice"] == pytest.approx(fold_metrics(small, CLASSES)["dice"])
