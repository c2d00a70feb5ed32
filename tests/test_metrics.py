"""Metrics against values worked out by hand, and against MONAI and scikit-learn on random inputs."""

import math
import subprocess
import sys
import time
from pathlib import Path

import monai.metrics as mm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as sk
import torch

from engine.errors import SonotuneError
from engine.metrics import surface
from engine.metrics.case import score_masks
from engine.metrics.classification import auc, brier, calibration_error, confusion_of
from engine.metrics.fold import figure_names, fold_metrics
from engine.metrics.segmentation import pooled_figures
from engine.metrics.table import case_table
from engine.results import PER_MASK, SURFACE, case_schema, parquet_bytes

torch.set_num_threads(1)
CLASSES = ("benign", "malignant", "normal")


def ellipses(count: int, size: int, seed: int, empty: float = 0.1) -> np.ndarray:
    """Masks [count, size, size] of one ellipse each; a share of them empty."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size] / size
    cy, cx = rng.uniform(0.3, 0.7, (2, count, 1, 1))
    ry, rx = rng.uniform(0.08, 0.3, (2, count, 1, 1))
    masks = ((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1
    return (masks & (rng.random((count, 1, 1)) >= empty)).astype(np.uint8)


def unscaled(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    sizes = np.tile(truth.shape[1:], (len(truth), 1))
    return score_masks(truth, predicted, sizes, np.full(len(truth), np.nan))


def stack(*rows: str) -> np.ndarray:
    """One mask [1, H, W] drawn with # and dots."""
    return np.array([[[c == "#" for c in row] for row in rows]], dtype=np.uint8)


def rows(count: int, seed: int = 0, size: int = 16, **changes: object) -> pa.Table:
    rng = np.random.default_rng(seed)
    given: dict[str, object] = {
        "cases": [f"c{i}" for i in range(count)],
        "clusters": [None] * count,
        "labels": rng.integers(0, 3, count),
        "classes": CLASSES,
        "truth": ellipses(count, size, seed, 0.3),
        "predicted": ellipses(count, size, seed + 1, 0.3),
        "probabilities": rng.dirichlet([1, 1, 1], count),
        "sizes": np.full((count, 2), size),
        "spacing": np.full(count, np.nan),
    }
    return case_table(**(given | changes))  # type: ignore[arg-type]


def test_overlaps_by_hand() -> None:
    scores = unscaled(stack("##..", "##..", "...."), stack(".##.", ".##.", "...."))
    expected = {"tp": 2, "fp": 2, "fn": 2, "tn": 6, "dice": 0.5, "iou": 1 / 3, "pixel_accuracy": 8 / 12,
                "precision": 0.5, "recall": 0.5, "specificity": 0.75}  # fmt: skip
    assert {name: scores[name][0] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "predicted", "overlap", "specificity"),
    [("....", "....", 1.0, 1.0), ("##..", "....", 0.0, 1.0), ("....", "#...", 0.0, 0.75)],
)
def test_two_empty_masks_agree_and_one_empty_mask_does_not(
    truth: str, predicted: str, overlap: float, specificity: float
) -> None:
    scores = unscaled(stack(truth), stack(predicted))
    assert [scores[name][0] for name in ("dice", "iou", "precision", "recall")] == [overlap] * 4
    assert scores["specificity"][0] == specificity
    assert all(np.isnan(scores[name][0]) for name in SURFACE)


def test_a_full_mask_has_nothing_to_be_specific_about() -> None:
    assert unscaled(stack("##", "##"), stack("##", "##"))["specificity"][0] == 1.0


def test_overlaps_agree_with_monai() -> None:
    truth, predicted = ellipses(40, 32, 0), ellipses(40, 32, 1)
    scores = unscaled(truth, predicted)
    t, p = (torch.from_numpy(m).float()[:, None] for m in (truth, predicted))
    dice = mm.DiceMetric(ignore_empty=False, reduction="none")(p, t)[:, 0].numpy()
    iou = mm.MeanIoU(ignore_empty=False, reduction="none")(p, t)[:, 0].numpy()
    np.testing.assert_allclose(scores["dice"], dice, atol=1e-6)
    np.testing.assert_allclose(scores["iou"], iou, atol=1e-6)
    counts = mm.get_confusion_matrix(p, t)[:, 0].numpy()
    np.testing.assert_array_equal(np.stack([scores[n] for n in ("tp", "fp", "tn", "fn")], 1), counts)
    there = (counts[:, 0] + counts[:, 1] > 0) & (counts[:, 0] + counts[:, 3] > 0)
    for ours, theirs in {"precision": "ppv", "recall": "tpr", "specificity": "tnr"}.items():
        expected = mm.compute_confusion_matrix_metric(theirs, torch.from_numpy(counts)).numpy()
        np.testing.assert_allclose(scores[ours][there], expected[there], atol=1e-6)


def test_surface_distances_by_hand() -> None:
    truth, predicted = stack("#......"), stack("#..#...")
    scores = score_masks(truth, predicted, np.array([[1, 7]]), np.array([np.nan]))
    # prediction -> truth: 0 and 3; truth -> prediction: 0
    expected = {"hausdorff": 3, "hd95": 2.85, "hd95_directed": 2.85, "asd": 1.5, "assd": 1.0}
    assert {name: scores[name][0] for name in SURFACE} == pytest.approx(expected)
    other = score_masks(predicted, truth, np.array([[1, 7]]), np.array([np.nan]))
    assert (other["hd95_directed"][0], other["asd"][0], other["hd95"][0]) == pytest.approx((0, 0, 2.85))


def test_distances_are_measured_at_the_original_size_and_in_millimetres_where_known() -> None:
    truth, predicted = stack("#...", "....", "....", "...."), stack("...#", "....", "....", "....")
    down = np.transpose(predicted, (0, 2, 1))
    sizes, unknown = np.array([[8, 20]]), np.array([np.nan])
    assert score_masks(truth, predicted, sizes, unknown)["hausdorff"][0] == pytest.approx(3 * 20 / 4)
    assert score_masks(truth, down, sizes, unknown)["hausdorff"][0] == pytest.approx(3 * 8 / 4)
    assert score_masks(truth, down, sizes, np.array([0.1]))["hausdorff"][0] == pytest.approx(0.6)


@pytest.mark.parametrize("pairs", [0, surface.PAIRS], ids=["distance transform", "point by point"])
@pytest.mark.parametrize("shape", ["ellipse", "noise"])
def test_surface_distances_agree_with_monai(shape: str, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "PAIRS", pairs)
    if shape == "ellipse":
        truth, predicted = ellipses(25, 40, 2), ellipses(25, 40, 3)
    else:
        truth, predicted = (np.random.default_rng(0).random((2, 10, 24, 24)) < 0.3).astype(np.uint8)
    height, width = truth.shape[1:]
    scores = score_masks(
        truth, predicted, np.tile([height * 2, width * 3], (len(truth), 1)), np.full(len(truth), 0.5)
    )
    t, p = (torch.from_numpy(m)[:, None] for m in (truth, predicted))
    spaced = {"include_background": True, "spacing": (1.0, 1.5)}
    expected = {
        "hausdorff": mm.compute_hausdorff_distance(p, t, **spaced),
        "hd95": mm.compute_hausdorff_distance(p, t, percentile=95, **spaced),
        "hd95_directed": mm.compute_hausdorff_distance(p, t, percentile=95, directed=True, **spaced),
        "asd": mm.compute_average_surface_distance(p, t, **spaced),
        "assd": mm.compute_average_surface_distance(p, t, symmetric=True, **spaced),
    }
    both = truth.any((1, 2)) & predicted.any((1, 2))
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name][both], values[:, 0].numpy()[both], rtol=1e-5, atol=1e-5)
        assert np.isnan(scores[name][~both]).all()


def test_a_lesion_is_hit_at_an_iou_of_one_half() -> None:
    truth = np.concatenate([stack("##..##", "......"), stack("##....", "......"), stack("......", "......")])
    said = np.concatenate([stack("#...##", "......"), stack("####..", "#....."), stack("#.#...", "......")])
    scores = unscaled(truth, said)  # IoUs: 1/2 and 1; 2/5; nothing to hit
    assert scores["lesions"].tolist() == [2, 1, 0]
    assert scores["lesions_hit"].tolist() == [2, 0, 0]
    assert scores["lesions_false"].tolist() == [0, 1, 2]


def test_lesions_that_touch_by_a_corner_are_one_and_cases_never_touch() -> None:
    mask = np.concatenate([stack("#.", ".#"), stack(".#", "#.")])
    assert unscaled(mask, mask)["lesions"].tolist() == [1, 1]


def test_a_case_has_the_same_scores_alone_and_in_any_company() -> None:
    truth, said = ellipses(300, 16, 9, 0.2), ellipses(300, 16, 10, 0.2)
    together = unscaled(truth, said)
    for case in (0, 127, 128, 299):
        alone = unscaled(truth[case : case + 1], said[case : case + 1])
        np.testing.assert_equal({name: values[case] for name, values in together.items()},
                                {name: values[0] for name, values in alone.items()})  # fmt: skip


def test_a_case_table_has_the_schema_and_every_name() -> None:
    table = rows(20)
    assert table.schema == case_schema()
    assert set(PER_MASK) == set(unscaled(ellipses(3, 16, 0), ellipses(3, 16, 1)))
    again = pq.read_table(pa.BufferReader(parquet_bytes(table)))
    np.testing.assert_equal(fold_metrics(again, CLASSES), fold_metrics(table, CLASSES))


def test_class_figures_agree_with_scikit_learn() -> None:
    table = rows(300)
    figures = fold_metrics(table, CLASSES)
    y, said = (np.array(table[name].to_pylist()) for name in ("label", "predicted"))
    probabilities = np.array(table["probabilities"].to_pylist())
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(y, said))
    assert figures["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, said))
    assert figures["f1_macro"] == pytest.approx(sk.f1_score(y, said, average="macro"))
    assert figures["f1_weighted"] == pytest.approx(sk.f1_score(y, said, average="weighted"))
    truth, guess = (np.array([CLASSES.index(name) for name in names]) for names in (y, said))
    np.testing.assert_array_equal(confusion_of(truth, guess, len(CLASSES)), sk.confusion_matrix(truth, guess))
    each = sk.precision_recall_fscore_support(y, said, labels=CLASSES)
    for place, name in enumerate(CLASSES):
        ours = [figures[f"{figure}_{name}"] for figure in ("precision", "sensitivity", "f1")]
        assert ours == pytest.approx([figure[place] for figure in each[:3]])
        assert figures[f"specificity_{name}"] == pytest.approx(sk.recall_score(y != name, said != name))
        assert figures[f"auc_{name}"] == pytest.approx(sk.roc_auc_score(y == name, probabilities[:, place]))
    order = [CLASSES.index(name) for name in y]
    assert figures["auc_macro"] == pytest.approx(sk.roc_auc_score(order, probabilities, multi_class="ovr"))


def test_a_class_that_is_absent_has_no_figures_and_stays_out_of_the_macro_mean() -> None:
    labels, probabilities = np.array([0, 0, 1, 1]), np.eye(3)[[0, 1, 1, 1]]
    figures = fold_metrics(rows(4, labels=labels, probabilities=probabilities), CLASSES)
    y, said = ["b", "b", "m", "m"], ["b", "m", "m", "m"]
    assert all(math.isnan(figures[f"{n}_normal"]) for n in ("precision", "sensitivity", "f1", "auc", "dice"))
    assert figures["f1_macro"] == pytest.approx(sk.f1_score(y, said, average="macro"))
    assert figures["specificity_normal"] == 1.0
    assert figures["dice_pooled_normal"] != figures["dice_pooled_normal"]


def test_a_class_that_is_there_but_never_said_has_precision_zero() -> None:
    labels, probabilities = np.array([0, 1]), np.eye(3)[[0, 0]]
    figures = fold_metrics(rows(2, labels=labels, probabilities=probabilities), CLASSES)
    assert (figures["precision_malignant"], figures["f1_malignant"]) == (0.0, 0.0)


def test_ties_count_half_in_the_auc() -> None:
    scores, positive = np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True])
    assert (
        auc(scores, positive) == pytest.approx(3.5 / 4) == pytest.approx(sk.roc_auc_score(positive, scores))
    )
    rng = np.random.default_rng(0)
    rough, truth = rng.integers(0, 9, 500) / 9, rng.random(500) < 0.3
    assert auc(rough, truth) == pytest.approx(sk.roc_auc_score(truth, rough))
    assert math.isnan(auc(scores, np.ones(4, bool)))


def test_brier_score_and_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.62, 0.3, 0.08]])
    labels = np.array([0, 1, 2])
    expected = (0.04 + 0.04 + 0.36 + 0.36 + 0.62**2 + 0.09 + 0.92**2) / 3
    assert brier(probabilities, labels) == pytest.approx(expected)
    # bins of 1/15: 0.8 is right with a gap of 0.2; 0.6 and 0.62 lie in two bins and are wrong
    assert calibration_error(probabilities, labels) == pytest.approx((0.2 + 0.6 + 0.62) / 3)
    # one bin: accuracy 1/3, mean confidence 2.02/3
    assert calibration_error(probabilities, labels, bins=1) == pytest.approx(1.02 / 3)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "precision", "recall"),
    [(0, 0, 5, 0.0, 0.0), (0, 5, 0, 0.0, 0.0), (0, 0, 0, 1.0, 1.0), (3, 1, 3, 0.75, 0.5)],
)
def test_pooled_precision_and_recall_where_nothing_was_said_or_is_there(tp, fp, fn, precision, recall):
    columns = {name: np.array([n]) for name, n in (("tp", tp), ("fp", fp), ("fn", fn), ("tn", 9))}
    found = pooled_figures(columns, np.array([0]), ("benign",))
    assert found["mask_precision_pooled"] == found["mask_precision_pooled_benign"] == precision
    assert found["mask_recall_pooled"] == found["mask_recall_pooled_benign"] == recall


def test_scores_do_not_depend_on_how_many_cases_are_scored_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, said = ellipses(7, 24, seed=1), ellipses(7, 24, seed=2)
    sizes = np.arange(14).reshape(7, 2) + 24
    spacing = np.array([0.1, 0.2, np.nan, 0.3, 0.4, 0.5, 0.6])
    whole = score_masks(truth, said, sizes, spacing)
    monkeypatch.setattr("engine.metrics.case.BLOCK", 3)
    for name, values in score_masks(truth, said, sizes, spacing).items():
        np.testing.assert_array_equal(values, whole[name])


def test_a_confidence_between_two_bins_counts_in_the_lower_one() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])  # wrong by 0.5, right by 0.25: in one bin 0.125
    assert calibration_error(probabilities, np.array([1, 1]), bins=2) == pytest.approx(0.375)


def test_brier_score_agrees_with_scikit_learn_for_two_classes() -> None:
    rng = np.random.default_rng(1)
    positive, labels = rng.random(200), rng.integers(0, 2, 200)
    ours = brier(np.stack([1 - positive, positive], 1), labels)
    assert ours == pytest.approx(2 * sk.brier_score_loss(labels, positive))


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


def test_a_thousand_cases_are_scored_within_two_seconds() -> None:
    truth, said = (np.tile(ellipses(100, 128, seed), (10, 1, 1)) for seed in (7, 8))
    began = time.process_time()
    rows(1000, truth=truth, predicted=said, sizes=np.full((1000, 2), 500))
    assert time.process_time() - began < 2


def test_a_million_case_rows_are_summed_up_within_seconds() -> None:
    small = rows(1000)
    many = pa.concat_tables([small] * 1000)
    began = time.process_time()
    figures = fold_metrics(many, CLASSES)
    assert time.process_time() - began < 10
    assert figures["dice"] == pytest.approx(fold_metrics(small, CLASSES)["dice"])
