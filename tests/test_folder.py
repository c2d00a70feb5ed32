"""A run folder begins once: whatever a start that was cut off has left, and whoever else starts there."""

from pathlib import Path

import pytest

from engine import folder
from engine.errors import SonotuneError
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal, read_journal
from engine.results import RunPaths
from engine.spec.load import study_of
from engine.storage import LocalStorage, open_storage

HEAD = folder.Head("data", "folds", {})
STUDY = study_of({"study": "s", "data": {"source": "phantom"}}, "test")
MANIFEST = Manifest((), (), 0)


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
        folder.head_of(Journal(folder.existing(str(tmp_path))))
    storage = folder.new(str(tmp_path))
    folder.begin(storage, STUDY, MANIFEST, HEAD, "sonotune search")
    assert folder.head_of(Journal(storage)) == HEAD
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


def test_a_run_that_began_meanwhile_is_seen_under_the_lock(tmp_path: Path) -> None:
    storage = folder.new(str(tmp_path))
    folder.begin(open_storage(str(tmp_path)), STUDY, MANIFEST, HEAD, "another driver").close()
    with pytest.raises(SonotuneError, match="holds a run already"):
        folder.check_free(storage, str(tmp_path))
    assert len(read_journal(storage)[0]) == 1
