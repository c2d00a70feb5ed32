"""`predict`: what is done to a network's output before it is scored or shown."""

from pydantic import Field

from engine.spec.section import Section


class Predict(Section):
    threshold: float = Field(0.5, gt=0, lt=1)
    """A pixel is lesion above this probability."""
    refine: bool = False
    """Score (and write) refined predictions: class normal empties the mask, an empty mask means normal.
    Refined figures are stored beside the raw ones in any case."""
