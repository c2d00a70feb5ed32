"""`model.two_stage`: segment, then classify what was segmented."""

from typing import Literal

from pydantic import Field

from engine.spec.augment import Augment
from engine.spec.loss import Loss
from engine.spec.network import Network
from engine.spec.section import Section
from engine.spec.train import Train

Feed = Literal["overlay", "channel", "crop"]


class Stage(Network):
    """A network with all that training it takes. `tasks` left out means the stage's own task alone."""

    loss: Loss = Loss()
    train: Train = Train()
    augment: Augment = Augment()


class Segment(Stage):
    name: str = "u2net_lite"
    """A row of `sonotune models` that segments."""


class Classify(Stage):
    name: str = "deepcardinal50"
    """A row of `sonotune models` that classifies."""


class TwoStage(Section):
    segment: Segment = Segment()
    """The first stage. Configurations that agree in it share its training, fold by fold."""
    classify: Classify = Classify()
    """The second stage; its epochs are those that the race sees."""
    feed: Feed = "overlay"
    """What the second stage sees: the image with the lesion laid over it, the mask as one more channel, or
    the image cut to the lesion (whole where no lesion was found)."""
    margin: float = Field(0.2, ge=0, le=2)
    """Added around the lesion by `feed: crop`, in shares of the longer side of its box."""
    masks: Literal["crossfit", "truth"] = "crossfit"
    """Where the training masks of the second stage come from: segmenters that have not seen the case, or the
    truth, which is optimistic and said so in the report. Validation and test masks are always predicted."""
    inner_folds: int = Field(4, ge=2, le=20)
    """Parts into which `crossfit` deals a fold's training cases, grouped and stratified as the folds are."""

    @property
    def unread(self) -> tuple[str, ...]:
        """Settings that the others make idle."""
        return ("margin",) * (self.feed != "crop") + ("inner_folds",) * (self.masks == "truth")
