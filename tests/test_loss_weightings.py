"""How the weights of the tasks move, and what they resume from."""

import io
import math

import numpy as np
import pytest
import torch

from engine.losses.weighting import pace_weights, scheduled_lambda, uncertainty_total
from engine.spec.loss import Loss, Schedule
from tests.losses import example, objective, terms

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ("linear", [0.9, 0.9, 0.9, 0.7, 0.5, 0.3, 0.1, 0.1]),
        ("step", [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1]),
        ("cosine", [0.9, 0.9, 0.9, 0.9 - 0.4 * (1 - 2**-0.5), 0.5, 0.5 - 0.4 * 2**-0.5, 0.1, 0.1]),
    ],
)
def test_lambda_moves_along_its_schedule(shape: str, path: list[float]) -> None:
    schedule = Schedule(shape=shape, to=0.1, start=2, epochs=4)  # type: ignore[arg-type]
    assert [scheduled_lambda(0.9, schedule, epoch) for epoch in range(1, 9)] == pytest.approx(path)


def test_a_scheduled_lambda_weighs_the_total_and_is_logged() -> None:
    loss = Loss(lambda_=0.8, weighting="scheduled", schedule=Schedule(to=0.2, epochs=2))
    found = terms(loss, epoch=2)
    expected = 0.5 * found.parts["segmentation"] + 0.5 * found.parts["classification"]
    torch.testing.assert_close(found.total, expected)
    assert found.parts["weight_segmentation"].item() == pytest.approx(0.5)


def test_learned_uncertainties_start_at_lambda_and_follow_the_losses() -> None:
    losses = torch.tensor([0.5, 2.0])
    by_hand = 0.5 * math.exp(-0.2) + 0.1 + 2 * math.exp(0.4) - 0.2
    assert uncertainty_total(losses, torch.tensor([0.2, -0.4])).item() == pytest.approx(by_hand)
    found = objective(Loss(lambda_=0.7, weighting="uncertainty"))
    parts = found(*example(), 1).parts
    assert parts["weight_segmentation"].item() == pytest.approx(0.7)
    assert parts["weight_classification"].item() == pytest.approx(0.3)
    assert [name for name, _ in found.named_parameters()] == ["weighting.log_variances"]


def test_learned_weights_settle_at_one_over_twice_the_loss() -> None:
    log_variances = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([log_variances], lr=0.5)
    losses = torch.tensor([0.2, 2.0])
    for _ in range(300):
        optimizer.zero_grad()
        uncertainty_total(losses, log_variances).backward()
        optimizer.step()
    np.testing.assert_allclose(torch.exp(-log_variances).detach(), 1 / (2 * losses), rtol=1e-4)


def test_dynamic_weight_averaging_by_hand() -> None:
    history = torch.tensor([[1.0, 1.0], [0.5, 1.0]])  # segmentation halved, classification stood still
    raised = [math.exp(0.5 / 2), math.exp(1.0 / 2)]
    expected = [2 * value / sum(raised) for value in raised]
    assert pace_weights(history, 2.0).tolist() == pytest.approx(expected)
    assert pace_weights(torch.full((2, 2), torch.nan), 2.0).tolist() == [1.0, 1.0]
    assert pace_weights(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), 2.0).tolist() == [1.0, 1.0]


def test_dynamic_weight_averaging_waits_for_two_epochs_and_favours_the_slower_task() -> None:
    found = objective(Loss(lambda_=0.6, weighting="dwa"))
    for segmentation in (1.0, 0.5):
        assert found(*example(), 1).parts["weight_segmentation"].item() == pytest.approx(0.6)
        found.end_epoch({"segmentation": segmentation, "classification": 1.0})
    parts = found(*example(), 3).parts
    assert parts["weight_segmentation"] < 0.6
    assert parts["weight_classification"] > 0.4


@pytest.mark.parametrize("weighting", ["uncertainty", "dwa"])
def test_a_weighting_resumes_where_it_stopped(weighting: str) -> None:
    loss = Loss(weighting=weighting)  # type: ignore[arg-type]
    first, second = objective(loss), objective(loss)
    optimizer = torch.optim.SGD([*first.parameters(), torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for segmentation in (1.0, 0.4):
        first(*example(), 1).total.requires_grad_().backward()
        optimizer.step()
        first.end_epoch({"segmentation": segmentation, "classification": 0.9})
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    second.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    assert second(*example(), 3).total.item() == first(*example(), 3).total.item()
    assert second(*example(), 3).total.item() != objective(loss)(*example(), 3).total.item()
