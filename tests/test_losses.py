"""Losses against values worked out by hand, and against MONAI and torch where they have the same loss."""

import math
from collections.abc import Callable

import monai.losses as ml
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.losses.cross_entropy import (
    class_binary_cross_entropy,
    class_cross_entropy,
    mask_cross_entropy,
    normalised,
)
from engine.losses.deep_supervision import map_weights, supervised, truth_at
from engine.losses.dice import dice_loss
from engine.losses.focal import class_focal, mask_focal
from engine.losses.lossnet import LossNet, feature_distance
from engine.losses.reconstruction import reconstruction_loss
from engine.losses.soft_region import soft_region_loss
from engine.losses.tversky import tversky_loss

torch.set_num_threads(1)


def logit(*probabilities: float) -> Tensor:
    return torch.logit(torch.tensor(probabilities))


def maps(seed: int = 0, size: int = 12) -> tuple[Tensor, Tensor]:
    """Logits and a binary truth, both [4, 1, size, size]; the last truth is empty."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(4, 1, size, size, generator=generator) < 0.3).float()
    truth[-1] = 0
    return torch.randn(4, 1, size, size, generator=generator) * 3, truth


def scores(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, generator=generator) * 2, torch.randint(0, 3, (8,), generator=generator)


# --- each family


def test_dice_by_hand_with_both_denominators() -> None:
    logits, truth = logit(0.5, 0.5, 0.25).view(1, 1, 1, 3), torch.tensor([1.0, 0, 0]).view(1, 1, 1, 3)
    assert dice_loss(logits, truth).item() == pytest.approx(1 - (2 * 0.5 + 1) / (1.25 + 1 + 1))
    squared = 1 - (2 * 0.5 + 1) / (0.25 + 0.25 + 0.0625 + 1 + 1)
    assert dice_loss(logits, truth, squared=True).item() == pytest.approx(squared)


def test_an_empty_prediction_of_an_empty_truth_costs_nothing() -> None:
    logits, truth = torch.full((1, 1, 4, 4), -40.0), torch.zeros(1, 1, 4, 4)
    for loss in (dice_loss(logits, truth), dice_loss(logits, truth, squared=True),
                 tversky_loss(logits, truth, 0.3, 0.7)):  # fmt: skip
        assert loss.item() == pytest.approx(0, abs=1e-6)


def test_a_false_lesion_costs_the_more_the_larger_it_is() -> None:
    truth = torch.zeros(1, 1, 8, 8)
    small, large = torch.full((2, 1, 1, 8, 8), -20.0).unbind()
    small[..., :2, :2], large[..., :6, :6] = 20.0, 20.0
    assert 0.7 < dice_loss(small, truth) < dice_loss(large, truth) < 1


@pytest.mark.parametrize("squared", [False, True])
def test_dice_agrees_with_monai(squared: bool) -> None:
    logits, truth = maps()
    monai = ml.DiceLoss(sigmoid=True, squared_pred=squared, smooth_nr=1, smooth_dr=1)
    torch.testing.assert_close(dice_loss(logits, truth, squared=squared), monai(logits, truth))


def test_tversky_by_hand_and_as_monai_has_it() -> None:
    logits, truth = logit(0.5, 0.5, 0.25).view(1, 1, 1, 3), torch.tensor([1.0, 0, 0]).view(1, 1, 1, 3)
    expected = 1 - (0.5 + 1) / (0.5 + 0.3 * 0.75 + 0.7 * 0.5 + 1)
    assert tversky_loss(logits, truth, 0.3, 0.7).item() == pytest.approx(expected)
    logits, truth = maps()
    monai = ml.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1)
    torch.testing.assert_close(tversky_loss(logits, truth, 0.3, 0.7), monai(logits, truth))


def test_tversky_of_equal_errors_is_dice() -> None:
    logits, truth = maps()
    ours = tversky_loss(logits, truth, 0.5, 0.5, smooth=0.5)
    torch.testing.assert_close(ours, dice_loss(logits, truth, smooth=1.0))


def test_one_logit_or_two_regions_give_the_same_cross_entropy() -> None:
    logits, truth = maps()
    assert mask_cross_entropy(logit(0.8), torch.ones(1)).item() == pytest.approx(-math.log(0.8))
    regions = torch.cat([torch.zeros_like(logits), logits], 1)
    expected = F.cross_entropy(regions, truth[:, 0].long())
    torch.testing.assert_close(mask_cross_entropy(logits, truth), expected)
    torch.testing.assert_close(soft_region_loss(regions, truth), expected)


@pytest.mark.parametrize("gamma", [0, 0.25, 0.5, 0.9, 1, 2, 4])
@pytest.mark.parametrize("lead", [-120.0, -18.0, 0.0, 18.0, 120.0])
def test_focal_gradients_stay_finite_when_nothing_or_all_is_wrong(gamma: float, lead: float) -> None:
    logits = torch.tensor([[lead, 0.0], [0.0, 1.0]], requires_grad=True)
    class_focal(logits, torch.tensor([0, 1]), gamma).mean().backward()
    assert torch.isfinite(logits.grad).all()
    masks = torch.tensor([[[[lead, 0.5]]]], requires_grad=True)
    mask_focal(masks, torch.ones(1, 1, 1, 2), gamma).backward()
    assert torch.isfinite(masks.grad).all()


def test_mask_focal_by_hand_and_as_monai_has_it() -> None:
    expected = (0.2**2 * -math.log(0.8) + 0.3**2 * -math.log(0.7)) / 2
    assert mask_focal(logit(0.8, 0.3), torch.tensor([1.0, 0]), 2).item() == pytest.approx(expected)
    logits, truth = maps()
    torch.testing.assert_close(mask_focal(logits, truth, 2), ml.FocalLoss(gamma=2)(logits, truth))
    torch.testing.assert_close(mask_focal(logits, truth, 0), mask_cross_entropy(logits, truth))


def test_class_focal_by_hand_and_as_monai_has_it() -> None:
    two = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]))
    expected = (0.3**2 * -math.log(0.7) + 0.6**2 * -math.log(0.4)) / 2
    assert class_focal(two, torch.tensor([0, 2]), 2).item() == pytest.approx(expected)
    logits, labels = scores()
    monai = ml.FocalLoss(gamma=2, use_softmax=True, to_onehot_y=True, reduction="none")
    torch.testing.assert_close(class_focal(logits, labels, 2), monai(logits, labels[:, None]).sum(1).mean())


def test_class_focal_without_focus_is_cross_entropy() -> None:
    logits, labels = scores()
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        torch.testing.assert_close(class_focal(logits, labels, 0, smoothing=smoothing), expected)
    weights = torch.tensor([0.5, 2.0, 1.0])
    expected = F.cross_entropy(logits, labels, weight=weights)
    torch.testing.assert_close(class_focal(logits, labels, 0, normalised(weights, labels)), expected)


def test_class_cross_entropy_with_smoothed_labels_by_hand() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1]])
    expected = -(0.9 * math.log(0.7) + 0.05 * math.log(0.2) + 0.05 * math.log(0.1))
    ours = class_cross_entropy(torch.log(p), torch.tensor([0]), smoothing=0.15)
    assert ours.item() == pytest.approx(expected)


def test_binary_cross_entropy_asks_of_each_class_by_its_softmax_probability() -> None:
    logits, labels = torch.log(torch.tensor([[0.7, 0.2, 0.1]])), torch.tensor([0])
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.9)) / 3
    assert class_binary_cross_entropy(logits, labels).item() == pytest.approx(expected)
    logits, labels = scores()
    chances, targets = torch.softmax(logits, 1), F.one_hot(labels, 3).float()
    torch.testing.assert_close(
        class_binary_cross_entropy(logits, labels), F.binary_cross_entropy(chances, targets)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_of_two_classes_is_that_of_one_probability(smoothing: float) -> None:
    """As printed for ACSNet: a softmax, then binary cross-entropy of malignant."""
    logits, labels = scores()
    two, malignant = logits[:, :2], labels.clamp(max=1)
    chance, target = torch.softmax(two, 1)[:, 1], malignant * (1 - smoothing) + smoothing / 2
    ours = class_binary_cross_entropy(two, malignant, smoothing=smoothing)
    torch.testing.assert_close(ours, F.binary_cross_entropy(chance, target))
    torch.testing.assert_close(ours, F.cross_entropy(two, malignant, label_smoothing=smoothing))


def test_binary_cross_entropy_stays_finite_where_the_network_is_sure() -> None:
    sure = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    loss = class_binary_cross_entropy(sure, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


@pytest.mark.parametrize("loss", [class_cross_entropy, class_binary_cross_entropy])
def test_class_weights_move_attention_and_not_the_size_of_a_loss(loss: Callable[..., Tensor]) -> None:
    logits, labels = scores()
    same = loss(logits, labels, normalised(torch.full((3,), 7.0), labels))
    torch.testing.assert_close(same, loss(logits, labels))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_of_a_cross_entropy_are_those_of_torch(smoothing: float) -> None:
    logits, labels = scores()
    weights = torch.tensor([0.5, 2.0, 1.0])
    ours = class_cross_entropy(logits, labels, normalised(weights, labels), smoothing)
    expected = F.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(ours, expected)


def test_soft_regions_are_held_against_the_truth_at_their_own_size() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    truth[..., :2, :2] = 1
    regions = torch.zeros(1, 2, 2, 2)
    regions[0, 1] = torch.tensor([[2.0, 0.0], [0.0, -1.0]])
    expected = (math.log(1 + math.exp(-2)) + 2 * math.log(2) + math.log(1 + math.exp(-1))) / 4
    assert soft_region_loss(regions, truth).item() == pytest.approx(expected)


def test_reconstruction_by_hand() -> None:
    images = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    assert reconstruction_loss(torch.zeros_like(images), images).item() == pytest.approx(2.5)


# --- deep supervision


@pytest.mark.parametrize(
    ("rule", "weights"),
    [("inverse", [0.25, 1 / 3, 0.5, 1.0]), ("equal", [1.0] * 4), ("off", [0.0, 0.0, 0.0, 1.0])],
)
def test_maps_are_weighed_from_coarse_to_fine(rule: str, weights: list[float]) -> None:
    assert map_weights(4, rule) == pytest.approx(weights)  # type: ignore[arg-type]


def test_deep_supervision_sums_the_losses_of_every_map_at_its_size() -> None:
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., :4, :4] = 1
    heads = [torch.randn(1, 1, 4, 4), torch.randn(1, 1, 8, 8)]
    expected = 0.5 * dice_loss(heads[0], truth[..., ::2, ::2]) + dice_loss(heads[1], truth)
    torch.testing.assert_close(supervised(heads, truth, map_weights(2, "inverse"), dice_loss), expected)
    assert set(truth_at(truth, torch.zeros(1, 1, 3, 3)).unique().tolist()) <= {0.0, 1.0}


def test_a_coarse_map_is_held_against_the_middle_of_what_it_covers() -> None:
    truth = torch.zeros(1, 1, 9, 9)
    truth[..., 1::3, 1::3] = 1
    assert truth_at(truth, torch.zeros(1, 1, 3, 3)).min() == 1


# --- LossNet


def test_feature_distance_by_hand() -> None:
    ones, zeros = torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    ones[1] = 3
    assert feature_distance([ones, 2 * ones], [zeros, zeros]).item() == pytest.approx(((1 + 2) + (3 + 6)) / 2)


def test_lossnet_is_nothing_for_the_truth_and_grows_with_the_error() -> None:
    torch.manual_seed(0)
    net = LossNet(levels=4, width=4)
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 8:20] = 1
    near = truth.clone()
    near[..., 8:20, 20:22] = 1
    exact, close, far = (net((2 * m - 1) * 40, truth).item() for m in (truth, near, 1 - truth))
    assert exact == pytest.approx(0, abs=1e-5)
    assert 0.01 < close < far


def test_lossnet_is_frozen_unsaved_and_the_same_whatever_the_global_seed() -> None:
    logits, truth = maps(size=16)
    torch.manual_seed(1)
    first = LossNet(width=4)
    torch.manual_seed(2)
    second = LossNet(width=4)
    assert list(first.parameters()) == []
    assert dict(first.state_dict()) == {}
    assert first(logits, truth).item() == second(logits, truth).item()
    assert sum(1 for _ in first.buffers()) == 20  # ten convolutions: they move with the loss


def test_lossnet_sends_a_finite_gradient_to_the_mask_even_where_it_is_exact() -> None:
    net = LossNet(width=4)
    truth = torch.zeros(1, 1, 16, 16)
    logits = torch.full((1, 1, 16, 16), -200.0, requires_grad=True)
    net(logits, truth).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
