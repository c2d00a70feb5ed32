"""What may change of a study once its run has begun, and what its user changed by hand."""

from collections.abc import Mapping
from typing import Any

from engine.errors import SonotuneError
from engine.folder import document_in, study_in
from engine.journal.journal import Journal
from engine.results import RunPaths
from engine.spec import text
from engine.spec.load import study_of
from engine.spec.overrides import set_path
from engine.spec.problems import hint
from engine.spec.resources import Resources
from engine.spec.study import Study, short_hash
from engine.storage import Storage

CHANGEABLE = ("search.configs", "search.budget", "resources")
SETTLED = ("device", "threads")  # of resources


def check_document(storage: Storage, journal: Journal) -> None:
    """A study changed by hand would make earlier decisions wrong; what may change goes through --extend."""
    told = [r for r in journal.records if r.get("event") in ("study", "changed")]
    known = [r["study"] for r in told if r.get("study")]
    found = short_hash(document_in(storage))
    if len(known) > 1 and found == known[-2] != known[-1] and _written_late(storage, told[-1], known[-1]):
        return
    if known and found != known[-1]:
        raise SonotuneError(
            f"{RunPaths.study} was edited after the run began; put the old text back and use "
            f"`sonotune resume --extend`, which changes {', '.join(CHANGEABLE)}"
        )


def _written_late(storage: Storage, told: Mapping[str, Any], wanted: str) -> bool:
    """A change comes into the journal before it comes into the study: one that was cut off in between."""
    document = document_in(storage)
    for path, value in (told.get("changes") or {}).items():
        set_path(document, path, value)
    if short_hash(document) != wanted:
        return False
    storage.write(RunPaths.study, text.dump(document).encode())
    return True


def change(storage: Storage, journal: Journal, changes: Mapping[str, Any]) -> Study:
    """Lays the changes over the study, once the new study is known to be sound. The journal keeps the limit
    that was: what was decided under it is decided again at each resume."""
    document = document_in(storage)
    before = study_in(storage).fixed
    for path, value in changes.items():
        if not any(path == name or path.startswith(f"{name}.") for name in CHANGEABLE):
            meant = hint(path.removeprefix("search.").split(".")[0], CHANGEABLE)
            raise SonotuneError(f"{path} cannot change within a run; only {', '.join(CHANGEABLE)} can{meant}")
        set_path(document, path, value)
    study = study_of(document, f"{storage.location}/{RunPaths.study}")
    _check_settled(before.resources, study.fixed.resources)
    _check_limit(study.fixed.search.configs, journal)
    if changes:
        told = {"changes": dict(changes), "study": short_hash(document), "configs": before.search.configs}
        journal.note({"event": "changed"} | told)
        journal.commit()
        storage.write(RunPaths.study, text.dump(document).encode())
    return study


def _check_settled(before: Resources, after: Resources) -> None:
    """Also where `resources` is given as a whole."""
    for name in SETTLED:
        value = getattr(before, name)
        if getattr(after, name) != value:
            raise SonotuneError(
                f"resources.{name} was settled when the run began, as all digits depend on it; leave {value}"
            )


def _check_limit(configs: int | None, journal: Journal) -> None:
    opened = sum(record.get("event") == "opened" for record in journal.records)
    if configs is not None and configs < opened:
        raise SonotuneError(
            f"search.configs: {configs} is fewer than the {opened} configurations that this run has begun; "
            f"give at least {opened}"
        )
