"""Losses against values worked out by hand, and against MONAI and torch where they have the same loss."""

import io
import math
from collections.abc import Callable

import monai.losses as ml
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from engine.errors import SonotuneError
from engine.losses.check import Traits, check_loss
from engine.losses.cross_entropy import class_binary_cross_entropy, class_cross_entropy, mask_cross_entropy
from engine.losses.deep_supervision import map_weights, supervised, truth_at
from engine.losses.dice import dice_loss
from engine.losses.focal import class_focal, mask_focal
from engine.losses.lossnet import LossNet, feature_distance
from engine.losses.reconstruction import reconstruction_loss
from engine.losses.soft_region import soft_region_loss
from engine.losses.total import Objective, Terms, build_loss
from engine.losses.tversky import tversky_loss
from engine.losses.weighting import pace_weights, scheduled_lambda, uncertainty_total
from engine.models.contract import Prediction
from engine.spec.loss import FeatureLoss, Loss, Schedule

torch.set_num_threads(1)
BOTH = Traits(
    "a model", segments=True, classifies=True, deep_supervision=False, soft_regions=False, reconstructs=False
)
EVERYTHING = Traits(
    "a model", segments=True, classifies=True, deep_supervision=True, soft_regions=True, reconstructs=True
)
SEGMENTER = Traits(
    "a model", segments=True, classifies=False, deep_supervision=False, soft_regions=False, reconstructs=False
)
CLASSIFIER = Traits(
    "a model", segments=False, classifies=True, deep_supervision=False, soft_regions=False, reconstructs=False
)
COUNTS = np.array([6, 3, 1])


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
    torch.testing.assert_close(class_focal(logits, labels, 0, weights), expected)


def test_class_cross_entropy_with_smoothed_labels_by_hand() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1]])
    expected = -(0.9 * math.log(0.7) + 0.05 * math.log(0.2) + 0.05 * math.log(0.1))
    ours = class_cross_entropy(torch.log(p), torch.tensor([0]), smoothing=0.15)
    assert ours.item() == pytest.approx(expected)


def test_binary_cross_entropy_reads_every_class_as_a_yes_or_no() -> None:
    logits, labels = logit(0.9, 0.4).view(1, 2), torch.tensor([0])
    expected = -(math.log(0.9) + math.log(0.6)) / 2
    assert class_binary_cross_entropy(logits, labels).item() == pytest.approx(expected)
    smoothed = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1) + 0.1 * math.log(0.4) + 0.9 * math.log(0.6)) / 2
    ours = class_binary_cross_entropy(logits, labels, smoothing=0.2).item()
    assert ours == pytest.approx(smoothed)
    logits, labels = scores()
    torch.testing.assert_close(
        class_binary_cross_entropy(logits, labels),
        F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 3).float()),
    )


def test_class_weights_move_attention_and_not_the_size_of_a_loss() -> None:
    logits, labels = scores()
    for loss in (class_cross_entropy, class_binary_cross_entropy):
        same = loss(logits, labels, torch.full((3,), 7.0))
        torch.testing.assert_close(same, loss(logits, labels))


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


def test_auto_deep_supervision_is_inverse_and_off_looks_at_the_final_map_only() -> None:
    several = terms(Loss(), EVERYTHING, heads=3).parts["mask"]
    torch.testing.assert_close(
        several, terms(Loss(deep_supervision="inverse"), EVERYTHING, heads=3).parts["mask"]
    )
    final = terms(Loss(deep_supervision="off"), EVERYTHING, heads=3).parts["mask"]
    prediction, truth, *_ = example(EVERYTHING, heads=3)
    torch.testing.assert_close(final, dice_loss(prediction.masks[-1], truth))
    assert several > final


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


def test_gamma_adds_the_feature_loss_to_the_segmentation() -> None:
    parts = terms(Loss(gamma=0.2, lossnet=FeatureLoss(levels=1))).parts
    torch.testing.assert_close(parts["segmentation"], parts["mask"] + 0.2 * parts["lossnet"])
    assert parts["lossnet"] > 0
    assert "lossnet" not in terms(Loss()).parts


# --- the total


def test_lambda_weighs_segmentation_and_the_rest_goes_to_classification() -> None:
    prediction = Prediction([torch.zeros(2, 1, 2, 2)], torch.zeros(2, 2), {})
    masks, labels = torch.ones(2, 1, 2, 2), torch.tensor([0, 1])
    found = build_loss(Loss(lambda_=0.7), np.array([5, 5]), BOTH)(prediction, masks, labels, masks, 1)
    dice = 1 - (2 * 2 + 1) / (2 + 4 + 1)  # p = 0.5 on four pixels of lesion
    focal = 0.25 * math.log(2)
    assert found.parts["segmentation"].item() == pytest.approx(dice)
    assert found.parts["classification"].item() == pytest.approx(focal)
    assert found.total.item() == pytest.approx(0.7 * dice + 0.3 * focal)


def test_a_model_of_one_task_minimises_that_loss_unweighted() -> None:
    mask = terms(Loss(lambda_=0.1), SEGMENTER)
    assert mask.total.item() == mask.parts["segmentation"].item()
    assert "classification" not in mask.parts
    label = terms(Loss(lambda_=0.9), CLASSIFIER)
    assert label.total.item() == label.parts["classification"].item()
    assert set(label.parts) == {"classification", "total"}


def test_alpha_is_the_papers_where_it_is_unset_and_the_model_has_soft_regions() -> None:
    parts = terms(Loss(), EVERYTHING).parts
    torch.testing.assert_close(parts["segmentation"], parts["mask"] + 0.4 * parts["soft_regions"])
    parts = terms(Loss(alpha=0.9), EVERYTHING).parts
    torch.testing.assert_close(parts["segmentation"], parts["mask"] + 0.9 * parts["soft_regions"])
    assert "soft_regions" not in terms(Loss(alpha=0.0), EVERYTHING).parts


def test_a_reconstruction_is_added_outside_of_lambda() -> None:
    found = terms(Loss(lambda_=0.3, reconstruction=0.5), EVERYTHING)
    parts = found.parts
    expected = 0.3 * parts["segmentation"] + 0.7 * parts["classification"] + 0.5 * parts["reconstruction"]
    torch.testing.assert_close(found.total, expected)


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("dice", dice_loss),
        ("dice_squared", lambda m, y: dice_loss(m, y, squared=True)),
        ("cross_entropy", mask_cross_entropy),
        ("focal", lambda m, y: mask_focal(m, y, 2)),
        ("dice_ce", lambda m, y: dice_loss(m, y) + mask_cross_entropy(m, y)),
        ("dice_focal", lambda m, y: dice_loss(m, y) + mask_focal(m, y, 2)),
        ("tversky", lambda m, y: tversky_loss(m, y, 0.3, 0.7)),
    ],
)
def test_every_named_mask_loss_is_the_one_it_names(
    name: str, direct: Callable[[Tensor, Tensor], Tensor]
) -> None:
    prediction, truth, *_ = example()
    found = terms(Loss(segmentation=name)).parts["mask"]  # type: ignore[arg-type]
    torch.testing.assert_close(found, direct(prediction.masks[0], truth))


@pytest.mark.parametrize("name", ["focal", "cross_entropy", "binary_cross_entropy"])
def test_every_class_loss_takes_weights_and_smoothing(name: str) -> None:
    plain = terms(Loss(classification=name)).parts["classification"]  # type: ignore[arg-type]
    loss = Loss(classification=name, class_weights="balanced", label_smoothing=0.1)  # type: ignore[arg-type]
    weighed = terms(loss).parts["classification"]
    assert torch.isfinite(weighed)
    assert weighed != plain


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = objective(Loss(class_weights="balanced")).weights
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    listed = objective(Loss(class_weights=(1.0, 2.0, 3.0))).weights
    assert listed is not None
    assert listed.tolist() == [1, 2, 3]


@pytest.mark.parametrize("weighting", ["fixed", "scheduled", "uncertainty", "dwa"])
def test_every_weighting_sends_a_finite_gradient_to_both_heads(weighting: str) -> None:
    prediction, *rest = example(EVERYTHING, heads=2)
    leaves = [*prediction.masks, prediction.logits, *prediction.aux.values()]
    for leaf in leaves:
        assert leaf is not None
        leaf.requires_grad_(True)
    loss = Loss(weighting=weighting, gamma=0.2, lossnet=FeatureLoss(levels=2))  # type: ignore[arg-type]
    found = objective(loss, EVERYTHING)(prediction, *rest, 1)
    found.total.backward()
    assert all(
        leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves if leaf is not None
    )
    assert not any(part.requires_grad for part in found.parts.values())


def test_losses_are_computed_in_full_precision_from_half_precision_maps() -> None:
    prediction, truth, labels, images = example(EVERYTHING, heads=2)
    assert prediction.logits is not None
    half = Prediction(
        [m.bfloat16() for m in prediction.masks],
        prediction.logits.bfloat16(),
        {name: value.bfloat16() for name, value in prediction.aux.items()},
    )
    found = objective(Loss(), EVERYTHING)
    exact, rough = (found(p, truth, labels, images, 1).total for p in (prediction, half))
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)


# --- weightings


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


# --- what cannot be


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
