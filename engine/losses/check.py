"""Which losses a model can have. Plain data in and out, so that a study is refused before anything starts."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.spec.loss import Loss

SOFT_REGION_WEIGHT = 0.4  # α of the MTL-OCA paper
RECONSTRUCTION_WEIGHT = 1.0  # not printed anywhere; the terms are of similar size on standardised input


@dataclass(frozen=True)
class Traits:
    """What a configured model returns, as far as a loss can ask for it."""

    name: str
    segments: bool = True
    classifies: bool = True
    deep_supervision: bool = False
    soft_regions: bool = False
    reconstructs: bool = False


def alpha(loss: Loss, traits: Traits) -> float:
    """α in force: the paper's where it is unset and the model has soft regions."""
    return loss.alpha if loss.alpha is not None else SOFT_REGION_WEIGHT * traits.soft_regions


def reconstruction(loss: Loss, traits: Traits) -> float:
    """The weight of the reconstruction in force."""
    if loss.reconstruction is not None:
        return loss.reconstruction
    return RECONSTRUCTION_WEIGHT * traits.reconstructs


def check_loss(loss: Loss, traits: Traits, classes: int | None = None) -> list[str]:
    """Every combination that cannot work, each naming both sides; empty when all is well.

    `classes` is how many the data has, where that is known already.
    """
    name = f"model {traits.name!r}"
    rules = (_segmentation_rules, _branch_rules, _classification_rules, _weighting_rules)
    problems = [text for rule in rules for text in rule(loss, traits, name)]
    weights = loss.class_weights
    if isinstance(weights, tuple) and classes is not None and len(weights) != classes:
        problems.append(f"loss.class_weights has {len(weights)} weights, but the data has {classes} classes")
    return problems


def _segmentation_rules(loss: Loss, traits: Traits, model: str) -> Iterator[str]:
    if not traits.segments and loss.segmentation != "auto":
        yield (
            f"loss.segmentation={loss.segmentation} needs lesion maps, but {model} does not segment; "
            "leave it at auto, or add segment to model.tasks"
        )
    if not traits.segments and loss.gamma > 0:
        yield f"loss.gamma={loss.gamma:g} needs lesion maps, but {model} does not segment; set it to 0"
    if loss.deep_supervision in ("inverse", "equal") and not traits.deep_supervision:
        yield (
            f"loss.deep_supervision={loss.deep_supervision} needs several lesion maps, but {model} "
            "returns none or one; set it to auto or off"
        )


def _branch_rules(loss: Loss, traits: Traits, model: str) -> Iterator[str]:
    if alpha(loss, traits) > 0 and not traits.soft_regions:
        yield f"loss.alpha={loss.alpha} weighs soft regions, but {model} has none; leave it out"
    if reconstruction(loss, traits) > 0 and not traits.reconstructs:
        yield (
            f"loss.reconstruction={loss.reconstruction} weighs a reconstructed image, but {model} "
            "has no such branch; leave it out"
        )


def _classification_rules(loss: Loss, traits: Traits, model: str) -> Iterator[str]:
    if traits.classifies:
        return
    lacks = f"needs class logits, but {model} does not classify"
    if loss.classification != "auto":
        yield (
            f"loss.classification={loss.classification} {lacks}; leave it at auto, "
            "or add classify to model.tasks"
        )
    if loss.class_weights != "none":
        yield f"loss.class_weights {lacks}; set it to none"
    if loss.label_smoothing > 0:
        yield f"loss.label_smoothing={loss.label_smoothing:g} {lacks}; set it to 0"


def _weighting_rules(loss: Loss, traits: Traits, model: str) -> Iterator[str]:
    if loss.weighting != "fixed" and not (traits.segments and traits.classifies):
        yield f"loss.weighting={loss.weighting} weighs two tasks, but {model} has one; use fixed"
    if loss.weighting == "uncertainty" and loss.lambda_ in (0, 1):
        yield (
            f"loss.weighting=uncertainty starts from lambda, which must lie between 0 and 1, "
            f"got lambda={loss.lambda_:g}; move it inside, or use weighting: fixed"
        )
