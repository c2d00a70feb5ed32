"""The whole loss: what is weighed, and by what."""

import math
from collections.abc import Callable
from pathlib import Path

import monai.losses as ml
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.losses.check import check_loss
from engine.losses.cross_entropy import mask_cross_entropy
from engine.losses.dice import dice_loss
from engine.losses.focal import mask_focal
from engine.losses.lossnet import LossNet
from engine.losses.total import build_loss
from engine.losses.tversky import tversky_loss
from engine.models.contract import Prediction
from engine.models.registry import MODELS, small
from engine.models.registry import traits as model_traits
from engine.models.vgg import VggFeatures
from engine.spec.loss import FeatureLoss, Loss
from tests.losses import BOTH, CLASSIFIER, COUNTS, EVERYTHING, SEGMENTER, example, objective, terms

torch.set_num_threads(1)


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


@pytest.mark.parametrize(
    ("settings", "direct"),
    [
        ({"segmentation": "dice", "smooth": 5}, lambda m, y: dice_loss(m, y, 5)),
        ({"segmentation": "tversky", "smooth": 5}, lambda m, y: tversky_loss(m, y, 0.3, 0.7, 5)),
        ({"segmentation": "focal", "focal_gamma": 1}, lambda m, y: mask_focal(m, y, 1)),
    ],
)
def test_settings_of_a_mask_loss_reach_it(
    settings: dict[str, object], direct: Callable[[Tensor, Tensor], Tensor]
) -> None:
    prediction, truth, *_ = example()
    found = terms(Loss.model_validate(settings)).parts["mask"]
    torch.testing.assert_close(found, direct(prediction.masks[0], truth))


def test_without_focus_the_class_loss_is_cross_entropy() -> None:
    plain = terms(Loss(classification="cross_entropy")).parts["classification"]
    unfocused = terms(Loss(classification="focal", focal_gamma=0)).parts["classification"]
    torch.testing.assert_close(unfocused, plain)


@pytest.mark.parametrize(
    ("name", "monai"),
    [
        ("dice_ce", ml.DiceCELoss(sigmoid=True, smooth_nr=1, smooth_dr=1)),
        ("dice_focal", ml.DiceFocalLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)),
    ],
)
def test_sums_of_mask_losses_are_those_of_monai(name: str, monai: nn.Module) -> None:
    prediction, truth, *_ = example()
    found = terms(Loss(segmentation=name)).parts["mask"]  # type: ignore[arg-type]
    torch.testing.assert_close(found, monai(prediction.masks[0], truth))


@pytest.mark.parametrize("name", ["focal", "cross_entropy", "binary_cross_entropy"])
def test_every_class_loss_takes_weights_and_smoothing(name: str) -> None:
    plain = terms(Loss(classification=name)).parts["classification"]  # type: ignore[arg-type]
    loss = Loss(classification=name, class_weights="balanced", label_smoothing=0.1)  # type: ignore[arg-type]
    weighed = terms(loss).parts["classification"]
    assert torch.isfinite(weighed)
    assert weighed != plain


def test_a_batch_of_weighed_classes_has_the_loss_that_torch_gives_it() -> None:
    """Σ w·loss / Σ w: the weights move attention, and whatever their size the loss keeps its own."""
    prediction, _, labels, _ = example()
    assert prediction.logits is not None
    for size in (1.0, 100.0):
        weights = (0.2 * size, 1.0 * size, 5.0 * size)
        found = terms(Loss(classification="cross_entropy", class_weights=weights)).parts["classification"]
        wanted = nn.functional.cross_entropy(prediction.logits, labels, torch.tensor(weights))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["focal", "cross_entropy", "binary_cross_entropy"])
def test_parts_of_a_batch_weigh_their_classes_as_the_whole_does(name: str) -> None:
    """Each case by itself as well, where a mean inside of the part would undo its class's weight."""
    prediction, truth, labels, images = example()
    assert prediction.logits is not None
    loss = Loss(classification=name, class_weights=(0.2, 1.0, 5.0), label_smoothing=0.1)  # type: ignore[arg-type]
    found = objective(loss)
    whole = found(prediction, truth, labels, images, 1).total
    each = [
        found(Prediction([m[[i]] for m in prediction.masks], prediction.logits[[i]], {}), truth[[i]],
              labels[[i]], images[[i]], 1, labels).total
        for i in range(len(labels))
    ]  # fmt: skip
    torch.testing.assert_close(torch.stack(each).mean(), whole)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = objective(Loss(class_weights="balanced")).weights
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    absent, one = (
        build_loss(Loss(class_weights="balanced"), np.array([6, 3, n]), BOTH).weights for n in (0, 1)
    )
    torch.testing.assert_close(absent, one)
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


def test_a_loss_means_the_same_under_automatic_mixed_precision() -> None:
    found = objective(Loss(gamma=0.2, lossnet=FeatureLoss(levels=2)), EVERYTHING)
    exact = found(*example(EVERYTHING, heads=2), 1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = found(*example(EVERYTHING, heads=2), 1)
    assert mixed.total.dtype == torch.float32
    for name, part in exact.parts.items():
        torch.testing.assert_close(
            mixed.parts[name], part, rtol=0.01 if name == "lossnet" else 2e-3, atol=1e-4
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_default_loss_suits_every_row_of_the_model_table(name: str) -> None:
    assert check_loss(Loss(), model_traits(small(name)), 3) == []


def test_auto_deep_supervision_is_inverse_and_off_looks_at_the_final_map_only() -> None:
    several = terms(Loss(), EVERYTHING, heads=3).parts["mask"]
    torch.testing.assert_close(
        several, terms(Loss(deep_supervision="inverse"), EVERYTHING, heads=3).parts["mask"]
    )
    final = terms(Loss(deep_supervision="off"), EVERYTHING, heads=3).parts["mask"]
    prediction, truth, *_ = example(EVERYTHING, heads=3)
    torch.testing.assert_close(final, dice_loss(prediction.masks[-1], truth))
    assert several > final


def test_the_feature_loss_looks_through_the_levels_and_the_weights_that_are_asked_for(tmp_path: Path) -> None:
    """A file of its first two levels, whose filters are dull: what they tell apart is next to nothing."""
    file = tmp_path / "vgg.pth"
    torch.save({name: value / 100 for name, value in VggFeatures(2).state_dict().items()}, file)
    found = {
        (levels, weights): terms(Loss(gamma=1.0, lossnet=FeatureLoss(levels=levels, weights=weights)))
        .parts["lossnet"].item()
        for levels in (1, 2)
        for weights in ("none", str(file))
    }  # fmt: skip
    prediction, truth, _, _ = example()
    for (levels, weights), told in found.items():
        assert told == pytest.approx(LossNet(levels, weights)(prediction.masks[-1], truth).item())
    assert found[1, "none"] < found[2, "none"]
    assert found[2, str(file)] < 0.1 * found[2, "none"]


def test_gamma_adds_the_feature_loss_to_the_segmentation() -> None:
    parts = terms(Loss(gamma=0.2, lossnet=FeatureLoss(levels=1))).parts
    torch.testing.assert_close(parts["segmentation"], parts["mask"] + 0.2 * parts["lossnet"])
    assert parts["lossnet"] > 0
    assert "lossnet" not in terms(Loss()).parts
