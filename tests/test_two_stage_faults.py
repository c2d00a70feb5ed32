"""Real searches over two stages, broken while they run: each goes on in the stage where it was."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.driver.worker import FoldTrainable
from engine.spec.study import FirstStage
from engine.spec.text import dump
from engine.task import Task
from tests.faulty import (
    Process,
    alive,
    check_like,
    document,
    driver,
    offspring,
    search,
    wait_until,
)
from tests.run_folder import records, tasks
from tests.staged import TWO

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # also on a busy machine
    pytest.mark.usefixtures("leaves_nothing"),
]

EPOCHS = {"segment": 3 * 4, "classify": 40}  # two inner segmenters and that of the whole training part
SEGMENT, CLASSIFY = (
    TWO[part] | {"train": {"epochs": epochs, "batch": 8, "lr": 1e-2}}
    for part, epochs in (("segment", 4), ("classify", EPOCHS["classify"]))  # long enough to be met half way
)
STAGED: dict[str, Any] = {
    "model": {"two_stage": TWO | {"segment": SEGMENT, "classify": CLASSIFY}},
    "train": {},
    "predict": {"threshold": 0.4},
    "search": {"sampler": "random", "configs": 1},
}
FOLDS = ("r0-f0", "r0-f1")


def killed_before(epoch: int, stage: str, notes: Path) -> type[FoldTrainable]:
    """The worker ends by its own hand before it trains this epoch of the stage on r0-f1, once. Every epoch
    that any worker has trained leaves a note with the worker's pid."""

    class Killed(FoldTrainable):
        trained = 0

        def begin(self, config: Any) -> None:
            super().begin(config)
            self.trained = 0

        def epoch(self) -> dict[str, Any]:
            own = "segment" if isinstance(self.spec, FirstStage) else "classify"
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


def test_a_killed_driver_resumes_in_the_second_stage(undisturbed: Path, tmp_path: Path) -> None:
    folder, space = tmp_path / "run", tmp_path / "space.yaml"
    space.write_text(dump(document(**STAGED)))
    process = driver(folder, "search", str(space), "--run", str(folder))
    hit, below = wait_until(lambda: cut_off(process, folder))
    before = len(records(folder, "reported"))
    assert driver(folder, "resume", str(folder)).wait(600) == 0
    told = [(Task(**r["task"]), r["epoch"]) for r in records(folder, "reported")]
    first = Task(records(folder, "opened")[0]["prerequisite"], hit.fold)
    assert first not in dict(told[before:])
    assert max(epoch for task, epoch in told if task == hit) == EPOCHS["classify"]
    assert trained_twice(folder, hit) == set()
    check_like(folder, undisturbed)
    wait_until(lambda: not alive(below), 120)


def cut_off(process: subprocess.Popen[bytes], folder: Path) -> tuple[Task, list[Process]] | None:
    """The driver ends while a second stage is half way: that one, and the processes that are to go. It stands
    still for the second look, or the stage might end between the look and the cut."""
    assert process.poll() is None, "no second stage was met half way"
    if not half_way(folder):
        return None
    process.send_signal(signal.SIGSTOP)
    found, below = half_way(folder), offspring(process.pid)
    process.send_signal(signal.SIGKILL if found else signal.SIGCONT)
    if not found:
        return None
    process.wait()
    return found[0], below


def half_way(folder: Path) -> list[Task]:
    """Second stages that have begun and not ended."""
    begun, ended = tasks(folder, "reported", stage="main"), tasks(folder, "ended", status="complete")
    return [task for task in begun if task not in ended]


def trained_twice(folder: Path, task: Task) -> set[int]:
    """Epochs. What a worker stored and no driver heard of any more is told to the next one, and only that."""
    told = [r for r in records(folder, "reported") if Task(**r["task"]) == task]
    return {epoch for epoch, times in Counter(r["epoch"] for r in told).items() if times > 1}


def trained_by(notes: Path) -> dict[tuple[str, str, int], str]:
    """Who trained each epoch of each stage and fold; none was trained twice."""
    trained = [path.name.split(".") for path in notes.glob("*.*.*.*")]
    found = {(stage, fold, int(number)): pid for stage, fold, number, pid in trained}
    assert len(found) == len(trained)
    return found
