"""A study: the sections that hold for every configuration, and the space the configurations come from."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from engine.errors import many
from engine.spec.augment import Augment
from engine.spec.data import Data
from engine.spec.distribution import Scalar
from engine.spec.folds import Folds
from engine.spec.loss import Loss
from engine.spec.model import Model
from engine.spec.network import Network, TaskName
from engine.spec.predict import Predict
from engine.spec.preprocess import Preprocess
from engine.spec.problems import problems_of
from engine.spec.race import Race
from engine.spec.resources import Resources
from engine.spec.search import Search
from engine.spec.section import Section
from engine.spec.select import Select
from engine.spec.space import Space
from engine.spec.train import Train
from engine.spec.two_stage import Segment, Stage

Tracker = Literal["tensorboard", "mlflow", "wandb"]


class Configuration(Section):
    """One point of the space with every default filled in: all that training depends on but the data."""

    model: Model = Model()
    loss: Loss = Loss()
    train: Train = Train()
    augment: Augment = Augment()
    preprocess: Preprocess = Preprocess()
    predict: Predict = Predict()

    def record(self) -> dict[str, Any]:
        """What nothing reads is left out, so that configurations that train alike have one name."""
        record = self.model_dump(mode="json", by_alias=True)
        two = self.model.two_stage
        if two is None:
            del record["model"]["two_stage"]
            return record
        for name in two.unread:
            del record["model"]["two_stage"][name]
        return record

    @cached_property
    def config_id(self) -> str:
        return short_hash(self.record())

    @cached_property
    def first_stage(self) -> "FirstStage | None":
        """What must have been trained before this can be."""
        two = self.model.two_stage
        if two is None:
            return None
        inner_folds = two.inner_folds if two.masks == "crossfit" else 0
        return FirstStage(segment=two.segment, preprocess=self.preprocess, inner_folds=inner_folds)

    @cached_property
    def trained(self) -> "Configuration":
        """Of the one network that a task of this configuration trains: the second of two."""
        two = self.model.two_stage
        return self if two is None else alone(two.classify, "classify", self.preprocess, self.predict)

    @property
    def epochs(self) -> int:
        """After which a task of this configuration is trained."""
        return self.trained.train.epochs


class FirstStage(Section):
    """All that the first of two stages depends on, so that whoever agrees in it shares it."""

    stage: Literal["segment"] = "segment"
    segment: Segment
    preprocess: Preprocess
    inner_folds: int
    """0: nobody needs masks of the training cases."""

    def record(self) -> dict[str, Any]:
        """Without what its training does not read, so that nobody trains it twice."""
        record = self.model_dump(mode="json", by_alias=True)
        for name in self.segment.train.unread:
            del record["segment"]["train"][name]
        record["segment"]["tasks"] = self.segment.tasks or ("segment",)
        return record

    @cached_property
    def key(self) -> str:
        return short_hash(self.record())

    @cached_property
    def trained(self) -> Configuration:
        return alone(self.segment, "segment", self.preprocess, Predict())

    @property
    def epochs(self) -> int:
        """Of all its networks together: one per inner fold, and one for the whole training part."""
        return (self.inner_folds + 1) * self.segment.train.epochs


def alone(stage: Stage, task: TaskName, preprocess: Preprocess, predict: Predict) -> Configuration:
    """A stage as a configuration of one network."""
    fields = {name: getattr(stage, name) for name in Network.model_fields}
    model = Model(**fields | {"tasks": stage.tasks or (task,)})
    return Configuration(
        model=model, loss=stage.loss, train=stage.train, augment=stage.augment,
        preprocess=preprocess, predict=predict,
    )  # fmt: skip


def read_record(record: Mapping[str, Any]) -> Configuration | FirstStage:
    """What a task trains, from its plain data."""
    return (FirstStage if record.get("stage") == "segment" else Configuration).model_validate(record)


class Fixed(Section):
    """The sections in which nothing can be searched."""

    study: str = Field(max_length=80)
    """Its name; also that of its run folder, unless --run names another."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of everything drawn at random: configurations, weights, the order of images."""
    data: Data = Data()
    folds: Folds = Folds()
    search: Search = Search()
    race: Race = Race()
    resources: Resources = Resources()
    select: Select = Select()
    tracking: tuple[Tracker, ...] = ()
    """Where the figures of each epoch go as well, into files below the run folder's tracking/."""

    @field_validator("study")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("study must be letters, digits, '.', '_' and '-', as it names a folder")
        return name

    @field_validator("tracking")
    @classmethod
    def _names_each_once(cls, trackers: tuple[Tracker, ...]) -> tuple[Tracker, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError("tracking names a tracker twice")
        return trackers


@dataclass(frozen=True)
class Study:
    """`document` is the YAML after profile and overrides: what `study.yaml` of a run holds."""

    document: Mapping[str, Any]
    fixed: Fixed
    space: Space
    first: tuple[Mapping[str, Scalar], ...] = ()

    @property
    def name(self) -> str:
        return self.fixed.study

    def configuration(self, params: Mapping[str, Scalar]) -> Configuration:
        """Values that are each allowed may still contradict each other."""
        try:
            return Configuration.model_validate(self.space.sections(params))
        except ValidationError as error:
            raise many(f"the configuration {dict(params)}", problems_of(error, Configuration)) from None


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_hash(value: Any) -> str:
    """Ten hex digits name a folder, so no path grows with the configuration."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:10]
