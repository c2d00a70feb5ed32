"""From the driver's start to its first new fold, when thousands of folds are in the journal already.

    python benchmarks/restart.py [--folds 10000] [--epochs 20] [--sampler tpe] [--profile]
                                 [--rule reserve] [--price 1e-5]

`--price` is far below the default: at that one, `reserve` has decided such a study long before so many folds.

Writes the journal through the real conductor (real sampler, real race) with made-up scores, then resumes: the
times of each part of a resume, up to the moment when the first worker begins a fold.
"""

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from rich.console import Console

from engine import folder
from engine.data.load import default_cache, load
from engine.driver import launch
from engine.driver.budget import Spent
from engine.driver.session import Session
from engine.driver.worker import FoldTrainable
from engine.folds.make import make_folds
from engine.race.heat import State
from engine.race.race import Stop
from engine.results import FoldResult, write_result
from engine.sampler.designs import Sampled, random_points
from engine.sampler.learned import Learned
from engine.sampler.sampler import Sampler, _computed_again
from engine.spec.load import study_of
from engine.spec.space import Space
from engine.spec.study import Study, short_hash
from engine.storage import LocalStorage, open_storage
from engine.task import Task
from engine.training.numerics import Numerics

FOLDS = 5


def study_for(options: argparse.Namespace, configs: int) -> Study:
    return study_of(
        {
            "study": "restart",
            "data": {"source": "phantom", "count": 60, "size": 32},
            "folds": {"k": FOLDS},
            "train": {"lr": {"loguniform": [1e-5, 1e-1]}, "epochs": options.epochs},
            "loss": {"lambda": {"uniform": [0, 1]}},
            "search": {"sampler": options.sampler, "configs": configs},
            "race": {"rule": options.rule, "price": options.price},
            "resources": {"workers": 2, "device": "cpu"},
        },
        "restart",
    )


def curve(task: Task, configuration: Any, epochs: int) -> np.ndarray:
    """Better for a rate near 0.01, worse on some folds, noisy, and rising with the epochs."""
    noise = np.random.default_rng(crc32(task.folder.encode()))
    final = 0.8 - 0.1 * abs(np.log10(configuration.train.lr) + 2) + 0.02 * noise.standard_normal()
    return np.maximum.accumulate(
        final - 0.5 / np.arange(2, epochs + 2) + 0.01 * noise.standard_normal(epochs)
    )


class Quick(LocalStorage):
    """Without a sync for each of forty thousand small files."""

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)


FILES = {
    name: bytes(size) for name, size in (("epochs", 6000), ("cases_validation", 9000), ("cases_test", 9000))
}


def store(session: Session, task: Task, value: float) -> None:
    """A result as its worker would have written it: a resume looks whether it is there and sound."""
    job = session.shared.job(task, session.conductor.configuration_of(task))
    end = {"score": value, "values": [value]}
    result = FoldResult(task.key, task.fold, "complete", job.record, [], job.address, **end)
    files = {f"{name}.parquet": data for name, data in FILES.items()}
    write_result(Quick(Path(session.storage.location)), task, result, files)


def write(session: Session, most: int, slots: int) -> int:
    """Plays `slots` workers that report in turn, until so many folds have ended."""
    conductor = session.conductor
    running: dict[Task, tuple[np.ndarray, int]] = {}
    ended = 0
    while ended < most:
        while len(running) < slots and (task := conductor.next()) is not None:
            configuration = conductor.configuration_of(task)
            running[task] = (curve(task, configuration, configuration.epochs), 0)
        if not running:
            break
        for task in tuple(running):
            if task in running:
                ended += step(session, running, task)
    return ended


def step(session: Session, running: dict[Task, tuple[np.ndarray, int]], task: Task) -> int:
    conductor, (scores, epoch) = session.conductor, running[task]
    running[task] = (scores, epoch + 1)
    value = float(scores[epoch])
    halted = conductor.reported(task, epoch + 1, value, [value])
    for other, verdict in halted.items():
        conductor.ended(other, "stopped" if isinstance(verdict, Stop) else "frozen")
        running.pop(other, None)
    if task in running and epoch + 1 == len(scores):
        store(session, task, value)
        conductor.ended(task, "complete", value, [value])
        del running[task]
        return 1 + len(halted)
    return len(halted)


class First(FoldTrainable):
    """Notes when the first worker begins."""

    def start(self) -> Any:
        Path(os.environ["RESTART_NOTE"]).touch()
        return self.nothing()

    def nothing(self) -> Iterator[dict[str, Any]]:
        yield {"epoch": 1, "score": 0.5, "best": 0.5, "values": [0.5], "stage": "main"}
        return FoldResult(self.task.key, self.task.fold, "complete", {}, [], "", score=0.5, values=[0.5])


def hasten(sampler: Sampler, space: Space) -> None:
    """A learning sampler takes up to a tenth of a second for each of thousands of proposals; those that a
    resume does not compute again are drawn at random here and put back as a resume does."""
    source, quick = sampler._source, random_points(len(space.dimensions), 1)
    if not isinstance(source, Learned) or not source.kind.anew:
        return
    compute, drawn = source.params, Sampled(space, (), quick, quick)

    def params(number: int) -> Any:
        if number < len(source.first) or _computed_again(number):
            return compute(number)
        found = drawn.params(number)
        source.restore(found)
        return found

    source.params = params  # type: ignore[method-assign]


def begin(study: Study, place: str) -> Session:
    storage = open_storage(place)
    pack = load(study.fixed.data, default_cache())
    manifest = make_folds(pack, study.fixed.folds)
    numerics = Numerics("cpu", "off", 1)
    head = folder.Head(pack.fingerprint, manifest.digest, numerics.record(), short_hash(study.document))
    journal = folder.begin(storage, study, manifest, head, "restart")
    return Session(study, pack, manifest, numerics, storage, journal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folds", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--rule", default="reserve")
    parser.add_argument("--price", type=float, default=1e-5)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = f"{scratch}/run"
        study = study_for(options, configs=options.folds)
        session = begin(study, place)
        hasten(session.conductor.proposals.sampler, study.space)
        session.journal._now = lambda: 0.0  # one write for many reports: only the reading is measured
        began = time.perf_counter()
        ended = write(session, options.folds, options.slots)
        records = session.journal._next - 1
        session.conductor.close()
        complete = int((session.conductor.race.rules[None].heat.state == State.COMPLETE).sum())
        print(f"{ended} folds of {len(session.conductor.entries)} configurations ended, {complete} complete, "
              f"{records} records, written in {time.perf_counter() - began:.1f} s", flush=True)  # fmt: skip
        resume(place, options)


def resume(place: str, options: argparse.Namespace) -> None:
    note = Path(place).parent / "note"
    os.environ["RESTART_NOTE"] = str(note)
    profile = cProfile.Profile() if options.profile else None
    began, wall, busy = time.perf_counter(), time.time(), time.process_time()
    marks: list[tuple[str, float, float]] = []

    def mark(what: str, at: float | None = None) -> None:
        marks.append((what, at or time.perf_counter() - began, time.process_time() - busy))

    going_back, coming_back = Session.go_back_to, Session.come_back

    def timed_back(session: Session, records: Any) -> None:
        mark("lock, journal, data")
        if profile:
            profile.enable()
        going_back(session, records)
        if profile:
            profile.disable()
        mark("replay, while Ray starts")

    def timed_return(session: Session) -> None:
        mark("the rest of Ray's start")
        session.trainable = First
        coming_back(session)

    def over_once_begun(spent: Spent) -> str | None:
        return "the first fold has begun" if note.exists() else None

    Session.go_back_to, Session.come_back = timed_back, timed_return  # type: ignore[method-assign]
    Spent.over = over_once_begun  # type: ignore[method-assign]
    with open(os.devnull, "w") as nowhere:
        launch.resume(place, Console(file=nowhere))
    if not note.exists():
        sys.exit("the rule has decided the study already, so a resume begins no fold; give a lower --price")
    mark("first fold begins", note.stat().st_mtime - wall)
    for (what, until, used), (_, since, before) in zip(marks, [("", 0.0, 0.0), *marks], strict=False):
        print(f"{what:28s} {until - since:6.2f} s, at {until:6.2f} s; driver {used - before:6.2f} s CPU")
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
