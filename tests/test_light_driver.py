"""What the driver does not spend its time on while folds run."""

import gc
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController
from rich.console import Console

from benchmarks.sleeping import sleeper
from engine.driver import launch
from engine.driver.session import Outcome, Session
from engine.spec.load import study_of

DOCUMENT = {
    "study": "light",
    "data": {"source": "phantom", "count": 40, "size": 32},
    "folds": {"k": 2},
    "train": {"lr": {"loguniform": [1e-4, 1e-2]}, "epochs": 4},
    "search": {"sampler": "random", "configs": 2},
    "race": {"rule": "none"},
    "resources": {"workers": 1, "device": "cpu"},
}


def search(folder: Path) -> Outcome:
    study = study_of(DOCUMENT, "test")
    return launch.search(study, str(folder), Console(file=StringIO()), trainable=sleeper(0.0))


def test_tune_stores_no_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = []
    monkeypatch.setattr(TuneController, "save_to_dir", lambda controller: stored.append(controller))
    assert search(tmp_path / "run").reason == "every configuration is complete or out"
    assert stored == []


def test_what_a_study_begins_with_is_not_looked_through_for_garbage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    run, deal = Session.run, launch.make_folds

    def running(session: Session, *rest: Any) -> Outcome:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 10_000))
        return run(session, *rest)

    def dealing(*rest: Any) -> Any:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 10_000))
        return deal(*rest)

    gc.unfreeze()
    monkeypatch.setattr(Session, "run", running)
    monkeypatch.setattr(launch, "make_folds", dealing)
    search(tmp_path / "run")
    assert seen == [(False, False), (True, True)]
    assert gc.isenabled()
