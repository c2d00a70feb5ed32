"""Refuses what cannot train before Ray starts and before a GPU second is spent."""

from collections.abc import Iterator, Mapping

from engine.data.cases import Pack
from engine.errors import SonotuneError, many
from engine.figures import unknown_metrics, unscored
from engine.folds.inner import inner_parts
from engine.folds.manifest import Manifest
from engine.losses.check import check_loss
from engine.models import registry
from engine.models.row import BOTH, Row
from engine.spec.distribution import Scalar
from engine.spec.loss import FeatureLoss
from engine.spec.model import Model
from engine.spec.network import Network
from engine.spec.predict import Predict
from engine.spec.section import Section
from engine.spec.space import VARIANTS
from engine.spec.study import Configuration, FirstStage, Study


def check_study(study: Study, pack: Pack, manifest: Manifest | None = None) -> None:
    """Every corner of the space must be buildable on this data, and its inner folds fit these folds."""
    problems = list(dict.fromkeys(problems_of(study, pack.images.shape[1], pack.classes)))
    problems += [] if manifest is None else list(_scarce(study, pack, manifest))
    problems += [] if problems else [*_idle(study), *_unfit_weights(study, pack)]
    if problems:
        raise many(f"study {study.name}", problems)


def problems_of(study: Study, size: int, classes: tuple[str, ...]) -> Iterator[str]:
    strangers = list(unknown_metrics(study.fixed, classes))
    yield from strangers
    starts = [study.space.base(first) for first in study.first]
    sound = not strangers
    for params in (*study.space.probes(), *starts):
        found = list(_problems_at(study, params, size, classes, not strangers))
        sound &= not found
        yield from found
    if sound:  # one example of what meets by chance is enough
        drawn = (list(_problems_at(study, params, size, classes, True)) for params in study.space.drawn())
        yield from next(filter(None, drawn), ())


def _problems_at(
    study: Study, params: Mapping[str, Scalar], size: int, classes: tuple[str, ...], scored: bool
) -> Iterator[str]:
    variant = f" (with {VARIANTS}={params[VARIANTS]})" if VARIANTS in params else ""
    configuration = study.configuration(params)
    found = list(impossible(configuration, size, len(classes)))
    if not found and scored:
        found = list(unscored(study.fixed.search, configuration, classes))
    yield from (problem + variant for problem in found)


def _idle(study: Study) -> Iterator[str]:
    """Copies of one configuration would be ranked by chance."""
    weighed = [study.configuration(params) for params in study.space.probes() if "loss.lambda" in params]
    if weighed and not any(_has_two_tasks(configuration) for configuration in weighed):
        yield "loss.lambda: is searched, but no model of this space has two tasks to weigh; leave it out"


def _has_two_tasks(configuration: Configuration) -> bool:
    traits = registry.traits(configuration.model)
    return configuration.first_stage is None and traits.segments and traits.classifies


def _scarce(study: Study, pack: Pack, manifest: Manifest) -> Iterator[str]:
    """Numbers of inner folds that some fold's training part is too small for; one sentence each."""
    stages = (study.configuration(params).first_stage for params in study.space.probes())
    for count in sorted({stage.inner_folds for stage in stages if stage is not None}):
        try:
            for fold in manifest.folds:
                inner_parts(pack, study.fixed.folds, fold, count)
        except SonotuneError as error:
            yield str(error)


def _unfit_weights(study: Study, pack: Pack) -> Iterator[str]:
    """Files of another architecture, found by filling each network that starts from a file once."""
    seen: set[tuple[Model | FeatureLoss, int]] = set()
    for params in study.space.probes():
        for place, network, channels in _networks(study.configuration(params)):
            if network.weights in ("none", "imagenet") or (network, channels) in seen:
                continue
            seen.add((network, channels))
            try:
                _fill(network, channels, pack)
            except SonotuneError as error:
                yield f"{place}.{error}"


def _networks(configuration: Configuration) -> Iterator[tuple[str, Model | FeatureLoss, int]]:
    """All that may start from a file, by its place in a study, and how many channels it sees."""
    first, two = configuration.first_stage, configuration.model.two_stage
    channels = configuration.preprocess.channels
    parts = [("model", "loss", configuration, channels)]
    if first is not None and two is not None:
        place, seen = "model.two_stage", channels + (two.feed == "channel")
        parts = [(f"{place}.segment", f"{place}.segment.loss", first.trained, channels),
                 (f"{place}.classify", f"{place}.classify.loss", configuration.trained, seen)]  # fmt: skip
    for model, loss, part, seen in parts:
        yield model, part.model, seen
        if part.loss.gamma > 0:
            yield f"{loss}.lossnet", part.loss.lossnet, 1


def _fill(network: Model | FeatureLoss, channels: int, pack: Pack) -> None:
    if isinstance(network, Model):
        registry.build(network, channels, len(pack.classes), pack.images.shape[1])
    else:
        from engine.models.vgg import VggFeatures  # with torch, which most checks do without

        VggFeatures(network.levels, network.weights)


def impossible(configuration: Configuration, size: int, classes: int) -> Iterator[str]:
    """What cannot go together in one configuration, each problem naming both sides."""
    if configuration.first_stage is not None:
        yield from _impossible_stages(configuration, configuration.first_stage, size, classes)
    else:
        yield from _impossible_network(configuration, size, classes)


def _impossible_network(configuration: Configuration, size: int, classes: int) -> Iterator[str]:
    try:
        registry.check(configuration.model, size)
    except SonotuneError as error:
        yield str(error)
        return
    traits = registry.traits(configuration.model)
    yield from check_loss(configuration.loss, traits, classes)
    if configuration.predict.refine and not (traits.segments and traits.classifies):
        yield (
            f"predict.refine: is on, but model {configuration.model.name!r} has not both tasks; "
            "refinement compares its mask with its class"
        )


def _impossible_stages(
    configuration: Configuration, first: FirstStage, size: int, classes: int
) -> Iterator[str]:
    """Each stage by itself, that it has the task the other relies on, and nothing beside the two."""
    yield from _beside_stages(configuration)
    second = configuration.trained.model_copy(update={"predict": Predict()})  # refinement has both masks
    for name, stage in (("segment", first.trained), ("classify", second)):
        place = f"model.two_stage.{name}"
        problems = _unable(stage.model) or list(_impossible_network(stage, size, classes))
        yield from [f"{place}: {problem}" for problem in problems] or _foreign_tasks(place, name, stage.model)


def _unable(model: Model) -> list[str]:
    """A network made for the other stage: what it may be built for says less than what it cannot do."""
    (task, *others), row = model.tasks or ("",), registry.MODELS.get(model.name)
    if row is None or others or _can(row, task):
        return []
    return [f"{model.name} cannot {task}; choose a model that does (`sonotune models` lists them)"]


def _can(row: Row, task: str) -> bool:
    allowed = row.choices.get("tasks", (BOTH,))
    return (task,) in allowed or BOTH in allowed


def _foreign_tasks(place: str, name: str, model: Model) -> Iterator[str]:
    traits = registry.traits(model)
    if name == "segment" and not traits.segments:
        yield f"{place}: model {model.name!r} has no masks for the second stage; choose one that segments"
    if name == "classify" and (traits.segments or not traits.classifies):
        yield (
            f"{place}: model {model.name!r} must only classify, as the masks come from "
            "model.two_stage.segment; leave its tasks out, or choose another"
        )


def _beside_stages(configuration: Configuration) -> Iterator[str]:
    """Silently unused settings would look as if they had been searched."""
    bare = Configuration(model=Model(two_stage=configuration.model.two_stage))
    unused = [f"model.{n}" for n in Network.model_fields if _differ(configuration.model, bare.model, n)]
    unused += [name for name in ("loss", "train", "augment") if _differ(configuration, bare, name)]
    if unused:
        yield (
            f"{', '.join(unused)}: is set beside model.two_stage, whose stages have their own; move it into "
            "model.two_stage.segment or model.two_stage.classify"
        )


def _differ(one: Section, other: Section, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))
