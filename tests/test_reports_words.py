"""What a report says in words: that its sentences are true of one as of many."""

from collections.abc import Mapping
from typing import Any

import pytest

from reports.measures import searched_for


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
