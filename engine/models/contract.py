"""What every model returns, so that any loss, metric and report reads any model."""

from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """`masks`: logit maps [B, 1, h, w], the final full-size one last (empty if the model does not segment);
    `logits`: [B, classes], or None if it does not classify; `aux`: named tensors that a loss asks for."""

    masks: list[Tensor]
    logits: Tensor | None
    aux: dict[str, Tensor]
