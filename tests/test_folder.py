"""A run folder begins once: whatever a start that was cut off has left, and whoever else starts there."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine import folder
from engine.changes import change, check_document
from engine.driver.reuse import check_reuse
from engine.errors import SonotuneError
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal, read_journal
from engine.journal.records import encode, seal
from engine.results import RunPaths
from engine.spec.load import study_of
from engine.spec.study import short_hash
from engine.storage import LocalStorage, open_storage

HEAD = folder.Head("data", "folds", {})
STUDY = study_of({"study": "s", "data": {"source": "phantom"}}, "test")
MANIFEST = Manifest((), (), 0)


def gone_on_with(place: Path) -> folder.Head:
    storage = folder.existing(str(place))
    return folder.head_of(Journal(storage), storage)


class CutOff(LocalStorage):
    """Goes away when it is to write the file with this name."""

    def __init__(self, root: Path, at: str) -> None:
        super().__init__(root)
        self.at = at

    def write(self, path: str, data: bytes) -> None:
        if path == self.at:
            raise KeyboardInterrupt
        super().write(path, data)


@pytest.mark.parametrize("at", [RunPaths.folds, RunPaths.provenance, RunPaths.study, "the journal"])
def test_a_start_that_was_cut_off_can_be_started_again(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if at == "the journal":
            patch.setattr(Journal, "commit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder.begin(CutOff(tmp_path, at), STUDY, MANIFEST, HEAD, "sonotune search")
    with pytest.raises(SonotuneError, match=r"holds no run|cut off before it began"):
        gone_on_with(tmp_path)
    storage = folder.new(str(tmp_path))
    folder.begin(storage, STUDY, MANIFEST, HEAD, "sonotune search")
    assert folder.head_of(Journal(storage), storage) == HEAD
    with pytest.raises(SonotuneError, match="holds a run already"):
        folder.new(str(tmp_path))


def test_a_study_of_somebody_and_a_run_without_its_journal_stay(tmp_path: Path) -> None:
    (tmp_path / RunPaths.study).write_text("study: mine\n")
    with pytest.raises(SonotuneError, match="holds a run already"):
        folder.new(str(tmp_path))
    (tmp_path / RunPaths.provenance).write_text("{}")
    (tmp_path / RunPaths.results / "0001").mkdir(parents=True)
    with pytest.raises(SonotuneError, match="holds a run already"):
        folder.new(str(tmp_path))


def test_no_search_begins_over_results_of_something_else(tmp_path: Path) -> None:
    """`sonotune train` leaves a folder like this; its fold would stand in the search's report."""
    (tmp_path / RunPaths.results / "0001" / "r0-f0").mkdir(parents=True)
    with pytest.raises(SonotuneError, match=r"holds results.* choose another --run"):
        folder.new(str(tmp_path))


def test_a_run_that_began_meanwhile_is_seen_under_the_lock(tmp_path: Path) -> None:
    storage = folder.new(str(tmp_path))
    folder.begin(open_storage(str(tmp_path)), STUDY, MANIFEST, HEAD, "another driver").close()
    with pytest.raises(SonotuneError, match="holds a run already"):
        folder.check_free(storage, str(tmp_path))
    assert len(read_journal(storage)[0]) == 1


@pytest.mark.parametrize("changes", [{"resources.device": "cpu"}, {"resources": {"device": "cpu"}},
                                     {"resources.threads": 4}])  # fmt: skip
def test_what_every_digit_depends_on_cannot_change(changes: dict[str, object], tmp_path: Path) -> None:
    journal = folder.begin(open_storage(str(tmp_path)), STUDY, MANIFEST, HEAD, "sonotune search")
    with pytest.raises(SonotuneError, match="was settled when the run began"):
        change(open_storage(str(tmp_path)), journal, changes)
    assert folder.document_in(open_storage(str(tmp_path))) == STUDY.document


def test_a_change_that_was_cut_off_before_the_study_was_written_is_written_later(tmp_path: Path) -> None:
    head = replace(HEAD, study=short_hash(STUDY.document))
    journal = folder.begin(open_storage(str(tmp_path)), STUDY, MANIFEST, head, "sonotune search")
    with pytest.raises(KeyboardInterrupt):
        change(CutOff(tmp_path, RunPaths.study), journal, {"search.configs": 7})
    storage = open_storage(str(tmp_path))
    journal.close()
    journal = Journal(storage)
    check_document(storage, journal)
    assert folder.document_in(storage)["search"]["configs"] == 7
    edited = (tmp_path / RunPaths.study).read_text().replace("7", "8")
    (tmp_path / RunPaths.study).write_text(edited)
    with pytest.raises(SonotuneError, match="was edited after the run began"):
        check_document(storage, journal)


@pytest.mark.parametrize(("strange", "why"), [({"schema": 2}, "has schema 2, 1 is read here"),
                                             ({"site": "A"}, "cannot be read .*'site'")])  # fmt: skip
def test_a_run_of_a_newer_version_is_refused_by_its_name(
    strange: dict[str, object], why: str, tmp_path: Path
) -> None:
    folder.begin(open_storage(str(tmp_path)), STUDY, MANIFEST, HEAD, "sonotune search").close()
    head = HEAD.record() | {"version": "9.8"} | strange
    (tmp_path / RunPaths.journal).write_bytes(seal([encode(1, head)]))
    with pytest.raises(SonotuneError, match=f"{why}.*sonotune 9.8 began it, .*resume with that version"):
        gone_on_with(tmp_path)


def test_the_way_out_can_be_copied_whatever_the_folder_is_called(tmp_path: Path) -> None:
    place = tmp_path / "my run"
    place.mkdir()
    (place / "study.yaml").write_text("study: x")
    with pytest.raises(SonotuneError, match=f"`sonotune resume '{place}'`"):
        folder.new(str(place))


@pytest.mark.parametrize("journal", [None, b""])
def test_a_run_that_lost_its_journal_is_not_sent_to_a_search_that_refuses_it(
    journal: bytes | None, tmp_path: Path
) -> None:
    place = str(tmp_path)
    folder.begin(folder.new(place), STUDY, MANIFEST, HEAD, "sonotune search").close()
    (tmp_path / RunPaths.results / "0001").mkdir(parents=True)
    (tmp_path / RunPaths.journal).unlink()
    if journal is not None:
        (tmp_path / RunPaths.journal).write_bytes(journal)
    with pytest.raises(SonotuneError, match="it was lost; put it back, or start a new run with --reuse"):
        gone_on_with(tmp_path)
    check_reuse([place])


def test_a_run_that_lost_its_study_is_a_run_all_the_same(tmp_path: Path) -> None:
    folder.begin(folder.new(str(tmp_path)), STUDY, MANIFEST, HEAD, "sonotune search").close()
    (tmp_path / RunPaths.study).unlink()
    with pytest.raises(SonotuneError, match=r"has lost its study\.yaml; put it back to go on"):
        folder.existing(str(tmp_path))
