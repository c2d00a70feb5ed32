"""What a report says in words: that its sentences are true of one as of many."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.picking import Evidence
from engine.spec.select import Select
from reports import parts, significance
from reports.load import load
from reports.measures import listed, searched_for
from reports.reasons import REASONS
from reports.study import study_of
from reports.tables import Column, Table, formatted
from reports.write import write
from tests.runs import Plan, make_run


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(str(make_run(tmp_path_factory.mktemp("few") / "run", Plan(configs=1, folds=2)))))


@pytest.mark.parametrize(("objective", "told"), [
    ("dice", "Dice"),
    ({"dice": 0.8, "hd95": -0.01}, "0.8 × Dice − 0.01 × HD95"),
    (["dice", "f1_macro"], "Dice against F1, macro"),
    (None, "0.5 × Dice + 0.5 × F1, macro"),
])  # fmt: skip
def test_the_objective_is_told_with_its_weights_whatever_is_picked_by(objective: Any, told: str) -> None:
    study: Mapping[str, Any] = {"search": {"objective": objective}, "select": {"metrics": ["assd"]}}
    assert searched_for(study) == told


def test_the_objective_of_refined_predictions_says_so() -> None:
    assert searched_for({"predict": {"refine": True}, "search": {"objective": "dice"}}) == "Dice, refined"


@pytest.mark.parametrize(("rule", "folds", "told"), [
    ("best_mean", [[0.5, 0.7], [0.7, 0.5]], "; b has the same mean, and of equals the first is taken."),
    ("best_mean", [[0.5, 0.7], [0.4, 0.7]], "; the next, b, has 0.5500 ± 0.2121."),
    ("one_se", [[0.5, 0.7], [0.1, 0.2]], "; it has the best mean itself."),
    ("lower_bound", [[0.5, 0.7], [0.1, 0.2]], "; it has the best mean as well."),
    ("lower_bound", [[0.5, 0.7]], "; no other is complete."),
])  # fmt: skip
def test_a_pick_is_not_compared_with_itself_nor_with_its_equal(
    rule: str, folds: list[list[float]], told: str
) -> None:
    scores = np.array(folds)
    evidence = Evidence(scores, scores[None], np.ones(len(folds)), 0.25, 0.95)
    assert REASONS[rule](evidence, 0, "ab"[: len(folds)], Select(), ["dice"]).endswith(told)


@pytest.mark.parametrize("rule", ["best_mean", "one_se", "lower_bound", "median_rank"])
def test_a_score_below_zero_has_the_minus_sign_of_the_tables(rule: str) -> None:
    scores = np.array([[-0.25, -0.5], [-0.5, -0.5]])
    told = REASONS[rule](Evidence(scores, scores[None], np.ones(2), 0.25, 0.95), 0, "ab", Select(), ["dice"])
    assert "−0.3750" in told
    assert "-" not in told


def test_one_is_not_told_in_the_plural(few: Path) -> None:
    text = few.read_text(encoding="utf-8")
    for told in (
        "1 configuration, 2 folds each; 1 complete",
        "is the only complete configuration",
        "0 configurations were",
    ):
        assert told in text
    assert "1 configurations" not in text
    assert not re.search(r'<dl class="facts">\s*</dl>', text)


def test_names_with_commas_are_joined_so_that_they_can_be_told_apart() -> None:
    assert listed(["Dice"]) == "Dice"
    assert listed(["Dice", "HD95", "F1, macro"]) == "Dice, HD95 and F1, macro"


def test_a_distance_is_told_to_be_over_few_cases_and_classes_to_be_of_few_configurations(few: Path) -> None:
    text = few.read_text(encoding="utf-8")
    assert "HD95: over the cases in which truth and prediction both have a lesion" in text
    assert "of the pick and the first two it is tested against" in text


def test_nothing_is_less_than_zero_by_its_rounding_alone() -> None:
    column = Column("difference", "Difference", digits=4)
    assert [formatted(column, value) for value in (-0.00001, -0.0)] == ["0.0000", "0.0000"]
    assert formatted(column, -0.00006) == "−0.0001"


def test_what_figures_are_over_and_their_units_are_told_beside_them(few: Path) -> None:
    text = few.read_text(encoding="utf-8")
    for told in (
        "Test figures: mean ± standard deviation (ddof 1) over 2 folds",
        "HD95 and ASD are in pixels of the original image, or in millimetres",
        "Confusion matrices of the pick on test",
        "test rows of all folds, and the share of the true class",
        "curves of the pick on test, each class against the rest",
        "The score and metrics are of validation. Mean over 2 folds; the band is ± std.",
    ):
        assert told in text, told


def test_the_terminal_says_that_the_corrected_figure_is_pooled_on_test(tmp_path: Path) -> None:
    study = study_of(load(str(make_run(tmp_path / "run", Plan(configs=2, folds=2)))), Select(bootstraps=100))
    told = parts.sentences(study)[0]
    assert re.match(r"Dice: pooled test 0\.\d{3}, bias-corrected 0\.\d{3} \[", told)


def test_the_interval_of_a_difference_names_its_confidence() -> None:
    assert [column.label for column in significance.table([], 0.9).columns][5:7] == ["90% from", "to"]


def test_a_knee_is_told_by_its_validation_figures() -> None:
    scores = np.array([[0.5, 0.7], [0.1, 0.2]])
    evidence = Evidence(scores, scores[None], np.ones(2), 0.25, 0.95)
    told = REASONS["pareto"](evidence, 0, "ab", Select(), ["dice"])
    assert told.endswith("nearest to the best of each (validation means: Dice 0.6000).")


def test_a_figure_that_one_row_alone_has_is_not_the_best() -> None:
    column = Column("hd95", "HD95", better="low")
    alone = Table("t", "T", (column,), [{"hd95": 17.0}, {"hd95": np.nan}, {"hd95": None}])
    assert alone.ranks() == {}
    assert Table("t", "T", (column,), [{"hd95": 17.0}, {"hd95": 16.0}]).ranks() == {
        (1, "hd95"): "best",
        (0, "hd95"): "second",
    }


def test_markdown_tells_what_the_page_tells_of_figures_and_headlines(few: Path) -> None:
    text = (few.parent / "report.md").read_text(encoding="utf-8")
    assert "*Confusion matrices of the pick on test.* Counts over the" in text
    assert re.search(r"- \*\*Test Dice\*\*: 0\.\d{3} ± 0\.\d{3}\. ", text)
