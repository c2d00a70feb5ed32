"""Kinds of models, and what their loss says of a small example."""

import numpy as np
import torch
from torch import Tensor

from engine.losses.check import Traits
from engine.losses.total import Objective, Terms, build_loss
from engine.models.contract import Prediction
from engine.spec.loss import Loss

BOTH = Traits("a model")
EVERYTHING = Traits("a model", deep_supervision=True, soft_regions=True, reconstructs=True)
SEGMENTER = Traits("a model", classifies=False)
CLASSIFIER = Traits("a model", segments=False)
COUNTS = np.array([6, 3, 1])


def objective(loss: Loss, traits: Traits = BOTH) -> Objective:
    return build_loss(loss, COUNTS, traits)


def terms(loss: Loss, traits: Traits = BOTH, epoch: int = 1, heads: int = 1) -> Terms:
    return objective(loss, traits)(*example(traits, heads), epoch)


def example(traits: Traits = BOTH, heads: int = 1) -> tuple[Prediction, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    images, truth = torch.randn(2, 1, 16, 16), (torch.rand(2, 1, 16, 16) < 0.4).float()
    aux = {"soft_regions": torch.randn(2, 2, 8, 8), "reconstruction": torch.randn(2, 1, 16, 16)}
    masks = [torch.randn(2, 1, 16 >> place, 16 >> place) for place in reversed(range(heads))]
    logits = torch.randn(2, 3) if traits.classifies else None
    prediction = Prediction(masks if traits.segments else [], logits, aux)
    return prediction, truth, torch.tensor([0, 2]), images
