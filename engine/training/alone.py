"""One configuration on one fold, in this process: for debugging, and for measuring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.data.cases import Pack
from engine.data.load import default_cache, load
from engine.folds import make_folds
from engine.manifest import Manifest
from engine.objective import objectives
from engine.preflight import check_study
from engine.spec.study import Configuration, Study
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import Job
from engine.training.numerics import Numerics, resolve


@dataclass(frozen=True)
class Bench:
    """A study with its data and folds, checked, and what this machine computes with."""

    study: Study
    pack: Pack
    manifest: Manifest
    numerics: Numerics

    @classmethod
    def of(cls, study: Study) -> "Bench":
        pack = load(study.fixed.data, default_cache())
        manifest = make_folds(pack, study.fixed.folds)
        check_study(study, pack)
        return cls(study, pack, manifest, resolve(study.fixed.resources))

    def job(self, configuration: Configuration, fold: str) -> Job:
        fixed = self.study.fixed
        return Job(
            Task(configuration.config_id, fold),
            configuration.record(),
            self.manifest.fold(fold),
            self.pack.fingerprint,
            fixed.seed,
            self.numerics,
            objectives(fixed.search),
            fixed.resources.keep,
        )


def train_alone(study: Study, location: str, fold: str) -> Iterator[dict[str, Any]]:
    """The first end of every dimension, or what `search.first` starts with."""
    from engine.training.fold import train_fold

    bench = Bench.of(study)
    configuration = study.configuration(study.space.base(study.first[0] if study.first else {}))
    yield from train_fold(bench.job(configuration, fold), bench.pack, open_storage(location))
