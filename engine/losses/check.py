"""Which losses a model can have. Plain data in and out, so that a study is refused before anything starts."""

from dataclasses import dataclass

from engine.spec.loss import Loss


@dataclass(frozen=True)
class Traits:
    """What a configured model returns, as far as a loss can ask for it."""

    name: str
    segments: bool = True
    classifies: bool = True
    deep_supervision: bool = False
    soft_regions: bool = False
    reconstructs: bool = False


def check_loss(loss: Loss, traits: Traits, classes: int | None = None) -> list[str]:
    """Every combination that cannot work, each naming both sides; empty when all is well."""
    return [text for bad, text in _rules(loss, traits, classes) if bad]


def _rules(loss: Loss, traits: Traits, classes: int | None) -> list[tuple[bool, str]]:
    return []
