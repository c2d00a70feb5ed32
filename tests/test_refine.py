"""Prediction refining: a class and a mask that contradict each other are made to agree."""

import numpy as np
import pytest

from engine.metrics.case import erase, score_masks
from engine.metrics.fold import fold_metrics
from engine.metrics.refine import incoherent, normal_class, refine
from engine.metrics.table import case_table
from engine.results import PER_MASK

CLASSES = ("benign", "malignant", "normal")
LESION, NOTHING = np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8)

RULES = [  # class, mask is empty -> class, mask is empty
    ("benign", False, "benign", False),
    ("benign", True, "normal", True),
    ("normal", False, "normal", True),
    ("normal", True, "normal", True),
]


@pytest.mark.parametrize(("said", "empty", "better", "emptied"), RULES)
def test_class_and_mask_agree_after_refinement(said: str, empty: bool, better: str, emptied: bool) -> None:
    normal = normal_class(CLASSES)
    erased, predicted = refine(np.array([CLASSES.index(said)]), np.array([empty]), normal)
    assert CLASSES[predicted[0]] == better
    assert (empty or erased[0]) == emptied
    assert normal is not None
    assert not incoherent(predicted, erased | empty, normal).any()


def test_without_a_normal_class_nothing_is_refined() -> None:
    assert normal_class(("benign", "malignant")) is None
    said = np.array([0, 1])
    erased, predicted = refine(said, np.array([False, True]), None)
    assert not erased.any()
    np.testing.assert_array_equal(predicted, said)


def test_the_normal_class_is_found_whatever_its_place_and_case() -> None:
    assert normal_class(("Normal", "tumour")) == 0
    assert normal_class(()) is None


def test_both_rules_read_the_raw_prediction_and_leave_it_as_it_is() -> None:
    said, empty = np.array([2, 0]), np.array([False, True])
    erased, predicted = refine(said, empty, 2)
    assert erased.tolist() == [True, False]
    assert predicted.tolist() == [2, 2]
    assert said.tolist() == [2, 0]


def test_erased_scores_are_those_of_an_empty_mask() -> None:
    rng = np.random.default_rng(0)
    truth, said = (rng.random((2, 30, 12, 12)) < 0.2).astype(np.uint8)
    truth[:5], erased = 0, rng.random(30) < 0.5
    sizes, spacing = np.full((30, 2), 48), np.full(30, np.nan)
    expected = score_masks(truth, np.where(erased[:, None, None], 0, said).astype(np.uint8), sizes, spacing)
    found = erase(score_masks(truth, said, sizes, spacing), erased)
    for name in PER_MASK:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name)


def four_cases(classes: tuple[str, ...] = CLASSES) -> dict[str, object]:
    """Said benign with a lesion, benign without, normal with a lesion, normal without."""
    said = np.array([0, 0, 2, 2]) % len(classes)
    return {
        "cases": list("abcd"), "clusters": [None] * 4, "labels": np.array([0, 2, 2, 2]) % len(classes),
        "classes": classes, "truth": np.stack([LESION, NOTHING, NOTHING, NOTHING]),
        "predicted": np.stack([LESION, NOTHING, LESION, NOTHING]),
        "probabilities": np.eye(len(classes))[said] * 0.4 + 0.2, "sizes": np.full((4, 2), 2),
        "spacing": np.full(4, np.nan),
    }  # fmt: skip


def test_case_rows_hold_the_raw_and_the_refined_prediction() -> None:
    table = case_table(**four_cases())  # type: ignore[arg-type]
    assert table["predicted"].to_pylist() == ["benign", "benign", "normal", "normal"]
    assert table["refined_predicted"].to_pylist() == ["benign", "normal", "normal", "normal"]
    assert table["dice"].to_pylist() == [1, 1, 0, 1]
    assert table["refined_dice"].to_pylist() == [1, 1, 1, 1]
    assert table["fp"].to_pylist() == [0, 0, 4, 0]
    assert table["refined_fp"].to_pylist() == [0, 0, 0, 0]


def test_the_share_of_incoherent_predictions_is_nothing_after_refinement() -> None:
    figures = fold_metrics(case_table(**four_cases()), CLASSES)  # type: ignore[arg-type]
    assert (figures["incoherent"], figures["refined_incoherent"]) == (0.5, 0.0)
    assert (figures["accuracy"], figures["refined_accuracy"]) == (0.75, 1.0)
    assert (figures["dice"], figures["refined_dice"]) == (0.75, 1.0)


def test_a_refined_class_is_certain() -> None:
    table = case_table(**four_cases())  # type: ignore[arg-type]
    figures = fold_metrics(table, CLASSES)
    # raw: three right at .6/.2/.2 and one wrong; refined: the wrong one is right with certainty
    assert figures["brier"] == pytest.approx((3 * (0.16 + 0.04 + 0.04) + (0.36 + 0.04 + 0.64)) / 4)
    assert figures["refined_brier"] == pytest.approx(3 * (0.16 + 0.04 + 0.04) / 4)
    assert figures["refined_auc_normal"] == 1.0
    assert [figures[f"refined_sensitivity_{name}"] for name in ("benign", "normal")] == [1.0, 1.0]
    assert figures["refined_accuracy"] == 1.0


def test_refined_figures_are_the_raw_ones_without_a_normal_class() -> None:
    classes = ("benign", "malignant")
    figures = fold_metrics(case_table(**four_cases(classes)), classes)  # type: ignore[arg-type]
    assert "incoherent" not in figures
    raw = {name: value for name, value in figures.items() if not name.startswith("refined_")}
    np.testing.assert_equal(raw, {name: figures[f"refined_{name}"] for name in raw})
