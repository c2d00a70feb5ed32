"""Losses against values worked out by hand, and against MONAI and torch where they have the same loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.losses.check import Traits
from engine.losses.total import build_loss
from engine.models.contract import Prediction
from engine.spec.loss import Loss

torch.set_num_threads(1)


def test_lambda_weighs_segmentation_and_the_rest_goes_to_classification() -> None:
    objective = build_loss(Loss(lambda_=0.7), np.array([5, 5]), Traits("any"))
    prediction = Prediction([torch.zeros(2, 1, 2, 2)], torch.zeros(2, 2), {})
    masks, labels = torch.ones(2, 1, 2, 2), torch.tensor([0, 1])
    terms = objective(prediction, masks, labels, torch.zeros(2, 1, 2, 2), 0)
    dice = 1 - (2 * 2 + 1) / (2 + 4 + 1)  # p = 0.5 on four pixels of lesion
    focal = 0.25 * np.log(2)
    assert terms.parts["segmentation"].item() == pytest.approx(dice)
    assert terms.parts["classification"].item() == pytest.approx(focal)
    assert terms.total.item() == pytest.approx(0.7 * dice + 0.3 * focal)
    assert F.relu(terms.total).item() == terms.total.item()
