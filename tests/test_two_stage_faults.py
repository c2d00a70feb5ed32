"""Real searches over two stages, broken while they run: each goes on in the stage where it was."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.driver.worker import FoldTrainable
from engine.task import Task
from tests.faulty import check_like, nothing_left_behind, records, search, tasks
from tests.staged import TWO

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # also on a busy machine

TRAIN = {"epochs": 4, "batch": 8, "lr": 1e-2}
SEGMENT, CLASSIFY = (TWO[part] | {"train": TRAIN} for part in ("segment", "classify"))
STAGED: dict[str, Any] = {
    "model": {"two_stage": TWO | {"segment": SEGMENT, "classify": CLASSIFY}},
    "train": {},
    "predict": {"threshold": 0.4},
    "search": {"sampler": "random", "configs": 1},
}
FOLDS = ("r0-f0", "r0-f1")
EPOCHS = {"segment": 3 * 4, "classify": 4}  # two inner segmenters and that of the whole training part


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    with nothing_left_behind():
        yield


def killed_before(epoch: int, stage: str, notes: Path) -> type[FoldTrainable]:
    """The worker ends by its own hand before it trains this epoch of the stage on r0-f1, once. Every epoch
    that any worker has trained leaves a note with the worker's pid."""

    class Killed(FoldTrainable):
        trained = 0

        def begin(self, config: Any) -> None:
            super().begin(config)
            self.trained = 0

        def epoch(self) -> dict[str, Any]:
            own = "segment" if self.record.get("stage") == "segment" else "classify"
            last = (own, self.task.fold, self.trained) == (stage, "r0-f1", epoch - 1)
            if last and not (notes / "killed").exists():
                (notes / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            told = super().epoch()
            if "row" in told:
                self.trained = told["row"]["epoch"]
                (notes / f"{own}.{self.task.fold}.{self.trained}.{os.getpid()}").touch()
            return told

    return Killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    search(folder, **STAGED)
    return folder


@pytest.mark.parametrize(("stage", "epoch"), [("segment", 6), ("classify", 3)])
def test_a_killed_worker_goes_on_in_its_stage_from_its_epoch(
    undisturbed: Path, tmp_path: Path, stage: str, epoch: int
) -> None:
    """Epoch 6 of the first stage is the second one of its second segmenter."""
    folder = tmp_path / "run"
    search(folder, killed_before(epoch, stage, tmp_path), **STAGED)
    (opened,) = records(folder, "opened")
    first, second = opened["prerequisite"], opened["config"]
    hit = Task(first if stage == "segment" else second, "r0-f1")
    assert tasks(folder, "ended", status="interrupted") == [hit]
    assert Counter(tasks(folder, "started")) == {
        Task(key, fold): 2 if Task(key, fold) == hit else 1 for key in (first, second) for fold in FOLDS
    }
    by = trained_by(tmp_path)
    assert sorted(by) == sorted((k, f, n) for k, m in EPOCHS.items() for f in FOLDS for n in range(1, m + 1))
    own = [by[stage, "r0-f1", number] for number in range(1, EPOCHS[stage] + 1)]
    assert set(own[: epoch - 1]).isdisjoint(own[epoch - 1 :])
    check_like(folder, undisturbed)


def trained_by(notes: Path) -> dict[tuple[str, str, int], str]:
    """Who trained each epoch of each stage and fold; none was trained twice."""
    trained = [path.name.split(".") for path in notes.glob("*.*.*.*")]
    found = {(stage, fold, int(number)): pid for stage, fold, number, pid in trained}
    assert len(found) == len(trained)
    return found
