"""Scores of a case's mask against values worked out by hand, and against MONAI on random masks."""

import time

import monai.metrics as mm
import numpy as np
import pytest
import torch

from engine.metrics import surface
from engine.metrics.case import score_masks
from engine.results import SURFACE
from tests.scored import ellipses, rows, stack, unscaled

torch.set_num_threads(1)


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


def test_scores_do_not_depend_on_how_many_cases_are_scored_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, said = ellipses(7, 24, seed=1), ellipses(7, 24, seed=2)
    sizes = np.arange(14).reshape(7, 2) + 24
    spacing = np.array([0.1, 0.2, np.nan, 0.3, 0.4, 0.5, 0.6])
    whole = score_masks(truth, said, sizes, spacing)
    monkeypatch.setattr("engine.metrics.case.BLOCK", 3)
    for name, values in score_masks(truth, said, sizes, spacing).items():
        np.testing.assert_array_equal(values, whole[name])


def test_a_thousand_cases_are_scored_within_two_seconds() -> None:
    truth, said = (np.tile(ellipses(100, 128, seed), (10, 1, 1)) for seed in (7, 8))
    began = time.process_time()
    rows(1000, truth=truth, predicted=said, sizes=np.full((1000, 2), 500))
    assert time.process_time() - began < 2
