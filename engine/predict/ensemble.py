"""The picked configuration of a run as one network: the mean of what its folds' networks say."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine import folder
from engine.errors import SonotuneError, many
from engine.models.registry import build
from engine.models.staged import TwoStages, build_second
from engine.results import RunPaths
from engine.spec.data import Data
from engine.spec.model import Model
from engine.spec.preprocess import Preprocess
from engine.spec.problems import problems_of
from engine.spec.study import Configuration, FirstStage
from engine.storage import Storage
from engine.task import Task
from engine.training import checkpoint

Filled = TypeVar("Filled", bound=nn.Module)

SUMMARY = f"{RunPaths.report}/summary.json"


class Said(NamedTuple):
    """Of a batch: probabilities of lesion [B, 1, H, W] and of the classes [B, C], where a model has them."""

    masks: Tensor | None
    classes: Tensor | None


class Member(nn.Module):
    """One fold's network. `mean` and `deviation` are those of its own training cases; 0 and 1 where the
    input is normalised already."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def normalised(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.deviation

    def forward(self, images: Tensor) -> Said:
        """images: [B, channels, H, W]"""
        found = self.network(self.normalised(images))
        masks = torch.sigmoid(found.masks[-1].float()) if found.masks else None
        classes = None if found.logits is None else torch.softmax(found.logits.float(), 1)
        return Said(masks, classes)


class Ensemble(nn.Module):
    """Keeps its members apart, since how they differ tells how sure they are."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        super().__init__()
        self.names = tuple(members)
        self.ordered = tuple(members.values())
        self.members = nn.ModuleList(self.ordered)

    def each(self, images: Tensor) -> Said:
        """As `forward`, with the folds in front: [folds, B, …]."""
        said = [member(images) for member in self.ordered]
        return Said(*(None if parts[0] is None else torch.stack(parts) for parts in zip(*said, strict=True)))

    def forward(self, images: Tensor) -> Said:
        return Said(*(None if part is None else part.mean(0) for part in self.each(images)))


@dataclass(frozen=True)
class Picked:
    """What a run picked, ready to be asked."""

    config_id: str
    configuration: Configuration
    data: Data
    ensemble: Ensemble

    @property
    def input(self) -> Preprocess:
        """How images are prepared: members with figures of their own normalise themselves."""
        spec = self.configuration.preprocess
        return spec.model_copy(update={"normalise": "unit"}) if spec.normalise == "dataset" else spec


def fastest_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_picked(location: str, device: str) -> Picked:
    """The networks of the best epoch of every fold."""
    storage = folder.existing(location)
    study = folder.study_in(storage)
    config_id, record = _pick(storage)
    configuration = _configuration(config_id, record)
    names = folder.manifest_in(storage).names
    data = study.fixed.data
    members = {name: _member(storage, Task(config_id, name), configuration, data, device) for name in names}
    ensemble = Ensemble(members).to(device).eval()
    return Picked(config_id, configuration, data, ensemble)


def _pick(storage: Storage) -> tuple[str, Mapping[str, Any]]:
    if not storage.exists(SUMMARY):
        raise SonotuneError(
            f"{storage.location} has no {SUMMARY}, which says what was picked; run `sonotune report` first"
        )
    try:
        summary = json.loads(storage.read(SUMMARY))
        picked = summary["picked"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SonotuneError(f"{storage.location}/{SUMMARY} cannot be read ({error}); report anew") from error
    if picked is None:
        complete = summary.get("counts", {}).get("complete")
        reason = "each breaks a bound of search.constraints" if complete else "none has finished its folds"
        raise SonotuneError(f"{storage.location} has picked none of its configurations: {reason}")
    if not isinstance(picked, dict) or not {"config_id", "config"} <= set(picked):
        raise SonotuneError(f"{storage.location}/{SUMMARY} does not say what was picked; report anew")
    return picked["config_id"], picked["config"]


def _configuration(config_id: str, record: Mapping[str, Any]) -> Configuration:
    try:
        configuration = Configuration.model_validate(record)
    except ValidationError as error:
        raise many(f"configuration {config_id}", problems_of(error, Configuration)) from None
    if configuration.config_id != config_id:
        raise SonotuneError(
            f"configuration {config_id} reads as {configuration.config_id} in this sonotune; "
            "use the version that trained it"
        )
    return configuration


def _member(storage: Storage, task: Task, configuration: Configuration, data: Data, device: str) -> Member:
    path, state = _state(storage, task, device)
    channels, classes = configuration.preprocess.channels, len(data.classes)
    model = _bare(configuration)
    two, stage = configuration.model.two_stage, configuration.first_stage
    if two is None or stage is None:
        network = _filled(build(model, channels, classes, data.size), state, path)
        return Member(network, *_scale(state, configuration, path))
    second = _filled(build_second(model, two, channels, classes, data.size), state, path)
    place, masks = _state(storage, Task(stage.key, task.fold), device)
    first = _filled(build(_bare(stage), channels, classes, data.size), masks, place)
    network = TwoStages(first, second, configuration.predict.threshold)
    return Member(network, *_scale(state, configuration, path))


def _state(storage: Storage, task: Task, device: str) -> tuple[str, Mapping[str, Any]]:
    path = f"{storage.location}/{RunPaths.checkpoint(task)}/best.pt"
    state = checkpoint.load(storage, f"{RunPaths.checkpoint(task)}/best.pt", device)
    if state is None:
        raise SonotuneError(
            f"{path} is missing or damaged; a run keeps its best resources.keep_configurations "
            "configurations' networks, unless resources.keep is none"
        )
    return path, state


def _bare(part: Configuration | FirstStage) -> Model:
    """Networks come from checkpoints, so weights to start from are not looked for again."""
    return part.trained.model.model_copy(update={"weights": "none"})


def _filled(network: Filled, state: Mapping[str, Any], path: str) -> Filled:
    try:
        network.load_state_dict(state["model"])
    except RuntimeError as error:
        raise SonotuneError(f"{path} holds a network of another architecture ({error})") from error
    return network


def _scale(state: Mapping[str, Any], configuration: Configuration, path: str) -> Iterator[list[float]]:
    neutral = ([0.0] * configuration.preprocess.channels, [1.0] * configuration.preprocess.channels)
    if configuration.preprocess.normalise != "dataset":
        return iter(neutral)
    if not state.get("scale"):
        raise SonotuneError(
            f"{path} lacks the mean and deviation of its training cases, which preprocess.normalise: dataset "
            "needs; train the run anew, or use normalise: image"
        )
    return iter(state["scale"])
