"""Runs a study on Ray from its first task to its last, or from where it was left."""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from engine import folder
from engine.bar import bar
from engine.changes import change, check_document
from engine.data.cases import Pack
from engine.data.load import default_cache, load
from engine.driver import resources as shares
from engine.driver import tracking
from engine.driver.ask import answer
from engine.driver.cluster import check_address, connected
from engine.driver.garbage import settle, uncollected
from engine.driver.growth import await_room, nodes
from engine.driver.packing import ALONE, Packed, packed_in
from engine.driver.packing import pack as pack_gpus
from engine.driver.reuse import check_reuse, reuse_in, reuse_told
from engine.driver.session import Outcome, Session
from engine.driver.store import check_room
from engine.driver.worker import FoldTrainable
from engine.errors import StorageError, without_secrets
from engine.folds.make import make_folds
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal
from engine.journal.records import Record
from engine.lock.lease import Lock
from engine.lock.lock import hold
from engine.preflight import check_study
from engine.provenance import command_line
from engine.results import RunPaths
from engine.sampler.designs import check_design
from engine.sampler.warm import check_enough, check_warm, earlier, warm_told
from engine.spec.resources import Resources
from engine.spec.study import Study, short_hash
from engine.storage import Storage, opened_in_place
from engine.training import weight_files
from engine.training.alone import Bench
from engine.training.numerics import Numerics, on_cpu, resolve

log = logging.getLogger("sonotune")


@uncollected()
def search(
    study: Study,
    location: str,
    console: Console,
    address: str | None = None,
    reuse: Sequence[str] = (),
    warm_from: Sequence[str] = (),
    trainable: type[FoldTrainable] = FoldTrainable,
) -> Outcome:
    """A new run. Everything that can be refused is refused before the run folder has a study in it.

    `trainable` lets a benchmark sleep in the place of training.
    """
    weight_files.check_places(study, address)
    check_address(address)
    check_design(study.fixed.search.sampler, study.space)
    check_warm(study.fixed.search.sampler, warm_from)
    storage = folder.new(location)
    tracking.require(study.fixed.tracking, storage)
    with bar(console) as progress:
        pack = load(study.fixed.data, default_cache(), progress)
    manifest = make_folds(pack, study.fixed.folds)
    check_study(study, pack, manifest)
    known, notes = earlier(warm_from, study.fixed.search)
    check_enough(study.fixed.search, study.space, known)
    check_reuse(reuse)
    with (
        hold(storage) as held,
        _logging(storage),
        _ray(study, address, _leaving(location, held, console)) as scratch,
    ):
        folder.check_free(storage, location)
        numerics, packed = _suited(study, pack, manifest, address, console)
        starts, digest = weight_files.digests(study), short_hash(study.document)
        head = folder.Head(pack.fingerprint, manifest.digest, numerics.record(), digest, weights=starts)
        beside = [*_packed_told(packed, console), *reuse_told(reuse), *warm_told(known)]
        journal = folder.begin(storage, study, manifest, head, command_line(), held.check, beside)
        session = Session(study, pack, manifest, numerics, storage, journal, reuse, trainable, packed, starts)
        if warm_from:
            _say_warm(console, notes, session.conductor.warm(known))
        settle()
        return session.run(console, scratch, bool(address))


def _packed_told(packed: Packed, console: Console) -> list[Record]:
    if packed is ALONE:
        return []
    console.print(str(packed), highlight=False)
    return [packed.record()]


def _suited(
    study: Study, pack: Pack, manifest: Manifest, address: str | None, console: Console
) -> tuple[Numerics, Packed]:
    """What the machines that are there compute with, and how many folds share a GPU of theirs."""
    resources = study.fixed.resources
    share = await_room(lambda nodes: shares.share(resources, nodes), resources, bool(address), console)
    check_room(pack, ray.nodes())
    numerics = _numerics(resources, share, address)
    return numerics, pack_gpus(Bench(study, pack, manifest, numerics), share, nodes())


@uncollected()
def resume(
    location: str, console: Console, address: str | None = None, changes: Mapping[str, Any] | None = None
) -> Outcome:
    """Goes on with a run, with other limits or resources where `changes` says so."""
    check_address(address)
    storage = folder.existing(location)
    with hold(storage) as held, _logging(storage), ExitStack() as going_back:
        journal = Journal(storage, guard=held.check)
        for warning in (*journal.warnings, *_left_by(held.taken_over)):
            console.print(warning, style="yellow", markup=False, soft_wrap=True)
        check_document(storage, journal)
        study = change(storage, journal, changes or {})
        weight_files.check_places(study, address)
        with bar(console) as progress:
            pack = load(study.fixed.data, default_cache(), progress)
        manifest = folder.manifest_in(storage)
        head = folder.head_of(journal, storage)
        folder.check_head(head, pack.fingerprint, manifest)
        weight_files.check(head.weights, study)
        packed, numerics = packed_in(journal.records), Numerics.of(head.numerics)
        reuse, starts = reuse_in(journal.records), head.weights
        session = Session(
            study, pack, manifest, numerics, storage, journal, reuse, packed=packed, weights=starts
        )
        replay = going_back.enter_context(ThreadPoolExecutor(1)).submit(session.go_back_to, journal.records)
        with _ray(study, address, _leaving(location, held, console)) as scratch:
            check_room(pack, ray.nodes())
            replay.result()
            session.come_back()
            going_back.close()
            settle()
            return session.run(console, scratch, bool(address))


class RunLog(logging.FileHandler):
    """A disk without room for the log fills no screen with tracebacks: what counts is in the journal."""

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, opener=opened_in_place)

    def emit(self, record: logging.LogRecord) -> None:
        """Python opens the file at the first word, and lets that fail whoever said it."""
        with suppress(OSError, StorageError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        """What it still held may find no room either; that must not hide why the study stopped."""
        with suppress(OSError):
            super().close()


def _numerics(resources: Resources, share: shares.Share, address: str | None) -> Numerics:
    """Asked where folds will run, which need not be where the driver runs. On this machine without a GPU it
    is, and a process that imports torch for the question alone would keep the first folds waiting."""
    question = resolve if share.gpu or resources.device == "cuda" else on_cpu
    if address is None and question is on_cpu:
        return on_cpu(resources)
    return answer(question, resources, min(share.gpu, 0.01), share.custom)


@contextmanager
def _ray(study: Study, address: str | None, leave: Callable[[str], None]) -> Iterator[Path]:
    resources = study.fixed.resources
    with connected(address, shares.cores(resources), leave=leave) as scratch:
        yield scratch


def _leaving(location: str, held: Lock, console: Console) -> Callable[[str], None]:
    """What a driver has left to do whose Ray has died, while its main thread waits for that Ray."""

    def leave(why: str) -> None:
        place = shlex.quote(without_secrets(location))
        told = f"{why}; nothing is lost. Go on with: sonotune resume {place}"
        console.show_cursor()
        console.print(told, markup=False, soft_wrap=True)
        console.file.flush()
        held.release()

    return leave


@contextmanager
def _logging(storage: Storage) -> Iterator[None]:
    """`run.log` keeps what the screen does not show."""
    place = storage.local()
    handler = RunLog(place / RunPaths.log, delay=True) if place else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _left_by(holder: str | None) -> list[str]:
    return [f"{holder} did not let go of this run and is gone; its lock is taken over"] if holder else []


def _say_warm(console: Console, notes: Sequence[str], counts: tuple[int, int]) -> None:
    for note in notes:
        console.print(note, style="yellow", markup=False, soft_wrap=True)
    taken, out = counts
    known = "1 earlier configuration" if taken == 1 else f"{taken} earlier configurations"
    others = "1 does" if out == 1 else f"{out} do"
    console.print(f"the sampler starts with {known}; {others} not fit this space")
