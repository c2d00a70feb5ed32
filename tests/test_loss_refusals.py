"""Losses that cannot be: with which model, of which values, and how that is told."""

import math

import pytest
import torch
from pydantic import ValidationError

from engine.errors import SonotuneError
from engine.losses.check import Traits, check_loss
from engine.spec.loss import Loss, Schedule
from tests.losses import BOTH, CLASSIFIER, EVERYTHING, SEGMENTER, objective, terms

torch.set_num_threads(1)

REFUSED = {
    "a mask loss without masks": (
        Loss(segmentation="dice"),
        CLASSIFIER,
        "segmentation=dice",
        "does not segment",
    ),
    "a feature loss without masks": (Loss(gamma=0.2), CLASSIFIER, "gamma=0.2", "does not segment"),
    "deep supervision of one map": (
        Loss(deep_supervision="inverse"),
        BOTH,
        "deep_supervision",
        "none or one",
    ),
    "equal supervision of one map": (
        Loss(deep_supervision="equal"),
        BOTH,
        "deep_supervision=equal",
        "none or one",
    ),
    "uncertainty from the other edge": (
        Loss(lambda_=0, weighting="uncertainty"),
        BOTH,
        "lambda=0",
        "between 0 and 1",
    ),
    "alpha without soft regions": (Loss(alpha=0.4), BOTH, "alpha=0.4", "has none"),
    "a reconstruction without its branch": (
        Loss(reconstruction=1.0),
        BOTH,
        "reconstruction",
        "no such branch",
    ),
    "a class loss without classes": (Loss(classification="focal"), SEGMENTER, "focal", "does not classify"),
    "class weights without classes": (
        Loss(class_weights="balanced"),
        SEGMENTER,
        "weights",
        "does not classify",
    ),
    "smoothing without classes": (Loss(label_smoothing=0.1), SEGMENTER, "smoothing", "does not classify"),
    "weighting of one task": (Loss(weighting="dwa"), SEGMENTER, "weighting=dwa", "has one"),
    "uncertainty from the edge": (
        Loss(lambda_=1, weighting="uncertainty"),
        BOTH,
        "lambda",
        "between 0 and 1",
    ),
    "weights of another class count": (Loss(class_weights=(1.0, 2.0)), BOTH, "2 weights", "3 classes"),
}


@pytest.mark.parametrize(("loss", "traits", "one", "other"), REFUSED.values(), ids=REFUSED)
def test_an_impossible_combination_is_refused_naming_both_sides(
    loss: Loss, traits: Traits, one: str, other: str
) -> None:
    (problem,) = check_loss(loss, traits, classes=3)
    assert one in problem
    assert other in problem
    with pytest.raises(SonotuneError, match="does not fit model 'a model'"):
        objective(loss, traits)


@pytest.mark.parametrize("traits", [BOTH, EVERYTHING, SEGMENTER, CLASSIFIER])
def test_the_default_loss_suits_every_model(traits: Traits) -> None:
    assert check_loss(Loss(), traits, 3) == []
    assert math.isfinite(terms(Loss(), traits).total.item())


def test_all_mistakes_are_told_at_once() -> None:
    loss = Loss(alpha=0.4, reconstruction=1.0, weighting="dwa", segmentation="dice", gamma=1.0)
    assert len(check_loss(loss, CLASSIFIER)) == 5


@pytest.mark.parametrize(
    "change",
    [{"lambda": 1.5}, {"lambda": math.nan}, {"focal_gamma": -1}, {"class_weights": (0.0, 1.0)},
     {"label_smoothing": 1.0}, {"segmentation": "lovasz"}, {"smooth": 0}, {"lamda": 0.5},
     {"lossnet": {"levels": 6}}, {"schedule": {"epochs": 0}}],
)  # fmt: skip
def test_a_value_outside_of_its_bounds_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Loss.model_validate(change)


def test_the_section_survives_json() -> None:
    loss = Loss(lambda_=0.85, class_weights=(1.0, 2.0), alpha=None, schedule=Schedule(to=0.3))
    record = loss.model_dump(mode="json", by_alias=True)
    assert record["lambda"] == 0.85
    assert Loss.model_validate(record) == loss
