"""The score by which epochs and configurations are compared."""

import math

import pytest

from engine.errors import SonotuneError
from engine.objective import WORST, scalar, values

FIGURES = {"dice": 0.5, "refined_dice": 0.6, "hd95": 4.0, "refined_hd95": 3.0, "auc_macro": math.nan}


def test_figures_are_weighed_and_refined_ones_are_those_of_what_refines() -> None:
    wanted = [{"dice": 1.0, "hd95": -0.1}, {"hd95": -1.0}]
    assert values(FIGURES, wanted, refined=False) == pytest.approx([0.1, -4.0])
    assert values(FIGURES, wanted, refined=True) == pytest.approx([0.3, -3.0])
    assert scalar([0.1, -4.0]) == pytest.approx(-1.95)


def test_what_is_undefined_is_as_bad_as_can_be() -> None:
    """A distance to a mask that nothing was drawn of must not pass for one of nothing."""
    figures = {"hd95": math.nan, "dice": math.nan}
    assert values(figures, [{"hd95": -1.0}, {"dice": 1.0}], refined=False) == [-WORST, 0.0]


def test_a_task_that_a_model_lacks_leaves_its_weight_to_the_others() -> None:
    both = {"dice": 0.75, "f1_macro": 0.25}
    assert values({"dice": 0.6}, [both], refined=False) == pytest.approx([0.6])
    assert values({"f1_macro": 0.6}, [both], refined=False) == pytest.approx([0.6])
    with pytest.raises(SonotuneError, match="which this model does not have"):
        values({"brier": 0.6}, [both], refined=False)
