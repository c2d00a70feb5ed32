"""A run folder as a whole: how it begins, how it is found again, and when the two do not fit."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from engine import __version__
from engine.errors import SonotuneError, without_secrets
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal, read_journal
from engine.journal.records import Record
from engine.provenance import provenance
from engine.results import RunPaths
from engine.spec import text
from engine.spec.load import study_of
from engine.spec.study import Study
from engine.storage import Storage, open_storage

SCHEMA = 1
TRIAL = "writable"
NOT_BEGUN = "the run was cut off before it began; start it again with `sonotune search`"
LOST = "it was lost; put it back, or start a new run with --reuse of this one"


@dataclass(frozen=True)
class Head:
    """The first record of a journal: what was resolved once and holds for the whole run."""

    fingerprint: str
    folds: str
    numerics: Mapping[str, Any]
    study: str = ""  # hash of study.yaml's content
    schema: int = SCHEMA
    version: str = __version__
    weights: Mapping[str, str] = field(default_factory=dict)  # sha256 of each file that networks start from

    def record(self) -> dict[str, Any]:
        return {"event": "study"} | self.__dict__


def new(location: str) -> Storage:
    """A place where no run is yet."""
    storage = named(location)
    check_free(storage, location)
    try_to_write(storage)
    return storage


def named(location: str) -> Storage:
    """No name would be the folder one stands in: a shell's variable that is not set."""
    if not location.strip():
        raise SonotuneError(f"--run is {location!r}; a run needs a folder, name it")
    storage = open_storage(location)
    place = storage.local()
    if place and place.is_file():
        raise SonotuneError(f"{location} is a file; a run needs a folder, choose another --run")
    return storage


def check_free(storage: Storage, location: str) -> None:
    """Asked once more when the lock is held: another driver may have begun meanwhile. What a start that was
    cut off has written is no run; a study with anything else of it missing is somebody's."""
    results, place = storage.list(RunPaths.results), without_secrets(location)
    ours = storage.exists(RunPaths.provenance) and not results
    if begun(storage) or (storage.exists(RunPaths.study) and not ours):
        raise SonotuneError(
            f"{place} holds a run already; go on with `sonotune resume {shlex.quote(place)}`, or choose "
            "another --run"
        )
    if results:
        raise SonotuneError(
            f"{place} holds results of something else, such as of `sonotune train`, which the report would "
            "count as this search's own; choose another --run"
        )


def begun(storage: Storage) -> bool:
    """A run is what its journal has a record of: what was cut off before that has decided nothing."""
    if not storage.exists(RunPaths.journal) and not storage.list(RunPaths.segments):
        return False
    try:
        return bool(read_journal(storage)[0])
    except SonotuneError:
        return True


def try_to_write(storage: Storage) -> None:
    """Rights and room are asked for before the data is read; a study refused later leaves nothing behind."""
    with no_new_folders(storage):
        storage.write(TRIAL, b"sonotune\n")
        storage.delete(TRIAL)


@contextmanager
def no_new_folders(storage: Storage) -> Iterator[None]:
    """Those that were made for what is written inside are gone afterwards, unless something lies in them."""
    place = storage.local()
    made = [folder for folder in (place, *place.parents) if not folder.exists()] if place else []
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def begin(
    storage: Storage,
    study: Study,
    manifest: Manifest,
    head: Head,
    command: str,
    guard: Callable[[], None] = lambda: None,
    beside: Iterable[Record] = (),
) -> Journal:
    """The journal's first record comes last and makes it a run; until then `search` may begin anew. `beside`:
    what else holds from the beginning, in the same commit: a driver killed between two would have lost it."""
    storage.write(RunPaths.folds, manifest.to_json().encode())
    storage.write(RunPaths.provenance, provenance(head.fingerprint, head.folds, head.numerics, command))
    storage.write(RunPaths.study, text.dump(dict(study.document)).encode())
    journal = Journal(storage, guard=guard)
    for record in (head.record(), *beside):
        journal.append(record)
    journal.commit()
    return journal


def existing(location: str) -> Storage:
    storage = with_study(location)
    if not storage.exists(RunPaths.journal) and not storage.list(RunPaths.segments):
        raise SonotuneError(f"{without_secrets(location)} has a study but no journal: {_way_on(storage)}")
    return storage


def with_study(location: str) -> Storage:
    """A run of which only results are wanted needs no journal."""
    storage, place = open_storage(location), without_secrets(location)
    if not storage.exists(RunPaths.study):
        storage.check_bucket()
        lost = f"has lost its {RunPaths.study}; put it back to go on"
        none = f"holds no run (it has no {RunPaths.study}); give the folder of a run"
        raise SonotuneError(f"{place} {lost if begun(storage) else none}")
    return storage


def _way_on(storage: Storage) -> str:
    """Whoever has results had a journal: no search begins over them."""
    return LOST if storage.list(RunPaths.results) else NOT_BEGUN


def document_in(storage: Storage) -> dict[str, Any]:
    return text.mapping(_text_in(storage, RunPaths.study), f"{storage.location}/{RunPaths.study}")


def study_in(storage: Storage) -> Study:
    return study_of(document_in(storage), f"{storage.location}/{RunPaths.study}")


def manifest_in(storage: Storage) -> Manifest:
    return Manifest.from_json(_text_in(storage, RunPaths.folds), f"{storage.location}/{RunPaths.folds}")


def _text_in(storage: Storage, path: str) -> str:
    try:
        return storage.read(path).decode()
    except FileNotFoundError:
        raise SonotuneError(f"{storage.location} has lost its {path}; put it back to go on") from None
    except UnicodeDecodeError as error:
        raise SonotuneError(f"{storage.location}/{path} is not text; it is damaged, put it back") from error


def head_of(journal: Journal, storage: Storage) -> Head:
    if not journal.records:
        raise SonotuneError(f"the journal has no record: {_way_on(storage)}")
    if journal.records[0].get("event") != "study":
        raise SonotuneError("the journal does not begin with its study record; it is damaged or foreign")
    record = {k: v for k, v in journal.records[0].items() if k != "event"}
    writer = f"sonotune {record.get('version')} began it, this is {__version__}: resume with that version"
    if record.get("schema") != SCHEMA:
        raise SonotuneError(f"the journal has schema {record.get('schema')}, {SCHEMA} is read here; {writer}")
    try:
        return Head(**record)
    except TypeError as error:
        raise SonotuneError(f"the journal's study record cannot be read ({error}); {writer}") from error


def check_head(head: Head, fingerprint: str, manifest: Manifest) -> None:
    """A run goes on with what it began with, or not at all."""
    if head.fingerprint != fingerprint:
        raise SonotuneError(
            f"the data set has changed since this run began (fingerprint {fingerprint[:12]}, was "
            f"{head.fingerprint[:12]}); put the old files back, or start a new run"
        )
    if head.folds != manifest.digest:
        raise SonotuneError("folds.json is not the one that this run began with; put it back")
