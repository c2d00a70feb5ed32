"""One configuration on one fold, in this process: for debugging, and for measuring."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine import folder
from engine.data.cases import Pack
from engine.data.load import default_cache, load
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.folds.manifest import Manifest
from engine.objective import objectives
from engine.past import stored
from engine.preflight import check_study
from engine.results import RunPaths
from engine.spec.study import Configuration, FirstStage, Study
from engine.storage import Storage
from engine.task import Task
from engine.training.job import Job, make_job
from engine.training.numerics import Numerics, resolve
from engine.training.weight_files import Digests, digests


@dataclass(frozen=True)
class Bench:
    """A study with its data and folds, checked, and what this machine computes with."""

    study: Study
    pack: Pack
    manifest: Manifest
    numerics: Numerics
    weights: Digests = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study) -> "Bench":
        pack = load(study.fixed.data, default_cache())
        manifest = make_folds(pack, study.fixed.folds)
        check_study(study, pack, manifest)
        return cls(study, pack, manifest, resolve(study.fixed.resources), digests(study))

    def job(self, configuration: Configuration | FirstStage, fold: str) -> Job:
        fixed = self.study.fixed
        key = configuration.key if isinstance(configuration, FirstStage) else configuration.config_id
        return make_job(
            Task(key, fold),
            configuration,
            self.manifest.fold(fold),
            self.pack,
            fixed.folds,
            fixed.seed,
            self.numerics,
            objectives(fixed.search),
            fixed.resources.keep,
            self.weights,
        )


def train_alone(study: Study, location: str, fold: str) -> Iterator[dict[str, Any]]:
    """The first end of every dimension, or what `search.first` starts with."""
    from engine.training.run_task import train_task

    storage = folder.named(location)
    if storage.exists(RunPaths.study):
        raise SonotuneError(
            f"{location} holds a search, whose report would count this fold as its own; choose another --run"
        )
    folder.try_to_write(storage)
    bench = Bench.of(study)
    configuration = study.configuration(study.space.base(study.first[0] if study.first else {}))
    for part in (configuration.first_stage, configuration):
        if part is not None and not _trained(storage, job := bench.job(part, fold)):
            yield from train_task(job, bench.pack, storage)


def _trained(storage: Storage, job: Job) -> bool:
    """Only a first stage is taken as it is found: the configuration itself was asked for."""
    return isinstance(job.spec, FirstStage) and stored(storage, job.task, job.address) is not None
