"""`model`: one network, or two that follow each other."""

from engine.spec.network import Network, NormName
from engine.spec.two_stage import TwoStage

__all__ = ["Model", "NormName"]


class Model(Network):
    two_stage: TwoStage | None = None
    """A segmenter, then a classifier that sees what was segmented, in the place of one network. Each has its
    own loss, training and augmentation, so the rest of `model`, `loss`, `train` and `augment` is left out."""
