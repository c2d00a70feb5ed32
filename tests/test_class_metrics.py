"""Figures of classes and their probabilities by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics as sk

from engine.metrics.classification import auc, brier, calibration_error, confusion_of
from engine.metrics.fold import fold_metrics
from tests.scored import CLASSES, rows


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


def test_a_confidence_between_two_bins_counts_in_the_lower_one() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])  # wrong by 0.5, right by 0.25: in one bin 0.125
    assert calibration_error(probabilities, np.array([1, 1]), bins=2) == pytest.approx(0.375)


def test_brier_score_agrees_with_scikit_learn_for_two_classes() -> None:
    rng = np.random.default_rng(1)
    positive, labels = rng.random(200), rng.integers(0, 2, 200)
    ours = brier(np.stack([1 - positive, positive], 1), labels)
    assert ours == pytest.approx(2 * sk.brier_score_loss(labels, positive))
