"""What may change of a run that has begun, and how far."""

from pathlib import Path
from typing import Any

import pytest

from engine import folder
from engine.changes import change
from engine.errors import SonotuneError
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal
from engine.spec.load import study_of
from engine.storage import open_storage

STUDY = study_of({"study": "s", "search": {"configs": 5}}, "test")


@pytest.fixture
def begun(tmp_path: Path) -> Journal:
    head = folder.Head("data", "folds", {})
    return folder.begin(open_storage(str(tmp_path)), STUDY, Manifest((), (), 0), head, "sonotune search")


@pytest.mark.parametrize(
    ("path", "told"),
    [("search", "search cannot change within a run"),
     ("search.sampler", "search.sampler cannot change within a run"),
     ("search.config", "did you mean 'search.configs'?"),
     ("search.configs_more", "did you mean 'search.configs'?"),
     ("resource.workers", "did you mean 'resources'?"),
     ("resourceful", "cannot change within a run; only search.configs, search.budget, resources can")],
)  # fmt: skip
def test_only_the_limits_and_the_share_of_the_machine_change(
    path: str, told: str, begun: Journal, tmp_path: Path
) -> None:
    with pytest.raises(SonotuneError) as error:
        change(open_storage(str(tmp_path)), begun, {"resources.workers": 2, path: 7})
    assert told in str(error.value)
    assert folder.document_in(open_storage(str(tmp_path))) == STUDY.document
    assert not [record for record in begun.records if record["event"] == "changed"]


@pytest.mark.parametrize("changes", [{"search.budget.hours": 2.0}, {"search.budget": {"epochs": 9}},
                                     {"resources.workers": 3, "search.configs": 9}])  # fmt: skip
def test_a_change_is_in_the_study_and_in_the_journal_with_the_limit_that_was(
    changes: dict[str, Any], begun: Journal, tmp_path: Path
) -> None:
    after = change(open_storage(str(tmp_path)), begun, changes)
    assert folder.document_in(open_storage(str(tmp_path))) == after.document != STUDY.document
    (told,) = [record for record in begun.records if record["event"] == "changed"]
    assert (told["changes"], told["configs"]) == (changes, 5)


def test_a_limit_goes_down_to_what_has_begun_and_no_further(begun: Journal, tmp_path: Path) -> None:
    for number in range(3):
        begun.note({"event": "opened", "config": str(number)})
    storage = open_storage(str(tmp_path))
    with pytest.raises(SonotuneError, match="fewer than the 3 configurations that this run has begun"):
        change(storage, begun, {"search.configs": 2})
    assert change(storage, begun, {"search.configs": 3}).fixed.search.configs == 3
