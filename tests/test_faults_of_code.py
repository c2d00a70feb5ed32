"""Real searches whose own code fails: memory that runs out, errors, losses that are no numbers. Each must say
which fold failed and why, and leave nothing behind."""

import re
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.driver.worker import FoldTrainable
from engine.results import RunPaths, read_result
from engine.storage import LocalStorage
from engine.task import Task
from tests.faulty import ONE_CONFIG, check_ends, search
from tests.run_folder import records, summary, tasks

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # also on a busy machine
    pytest.mark.usefixtures("leaves_nothing"),
]


def confined(mebibytes: int) -> type[FoldTrainable]:
    class Confined(FoldTrainable):
        """May take so much more than what it holds when it is ready to train."""

        def start(self) -> Any:
            import albumentations  # noqa: F401
            import torch

            import engine.models.multitask
            import engine.training.run_task  # noqa: F401

            torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).sum().backward()
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + mebibytes * 2**20, resource.RLIM_INFINITY))
            return super().start()

    return Confined


HUNGRY: dict[str, Any] = {
    "data": {"source": "phantom", "count": 150, "size": 96},
    "model": {
        "name": "unet_mtl",
        "width": 32,
        "depth": 2,
    },  # 0.9 GiB a batch: far more than chance
    "train": {"epochs": 2, "batch": 64},
    "search": ONE_CONFIG,
}


def test_a_fold_that_exhausts_memory_goes_on_with_half_of_each_batch(tmp_path: Path) -> None:
    search(tmp_path / "run", confined(700), **HUNGRY)
    check_ends(tmp_path / "run")
    for task in tasks(tmp_path / "run", "ended", status="complete"):
        result = read_result(LocalStorage(tmp_path / "run"), task)
        assert result is not None
        assert (result.status, result.micro_batches) == ("complete", 2)
        assert "memory ran out" in result.warnings[-1]


def died(folder: Path) -> Counter[Task]:
    """How often each fold lost its worker, by the log."""
    found = re.findall(r"(\w+)/([\w-]+): the worker was lost", (folder / RunPaths.log).read_text())
    return Counter(Task(key, fold) for key, fold in found)


def test_a_fold_that_never_fits_is_tried_alone_and_then_reported(tmp_path: Path) -> None:
    search(tmp_path / "run", confined(300), **HUNGRY)
    started = Counter(tasks(tmp_path / "run", "started"))
    lost = died(tmp_path / "run")  # where it is a thread of Ray's that gets no memory
    assert {times - lost[task] for task, times in started.items()} == {3}  # as it is, in halves, alone
    for task in started:
        result = read_result(LocalStorage(tmp_path / "run"), task)
        assert result is not None
        assert result.status == "failed"
        assert re.search("(?i)allocate|primitive|start new thread", result.error)  # as each library puts it
    check_ends(tmp_path / "run")


def mismatched() -> type[FoldTrainable]:
    class Mismatched(FoldTrainable):
        def start(self) -> Any:
            import torch

            return torch.nn.Linear(3, 4)(torch.zeros(1, 5))

    return Mismatched


def test_the_same_error_everywhere_stops_the_study_with_its_traceback(tmp_path: Path) -> None:
    outcome = search(tmp_path / "run", mismatched(), search={"sampler": "random", "configs": 12})
    assert "configuration after configuration" in outcome.reason
    assert outcome.failure is not None
    assert "mat1 and mat2 shapes cannot be multiplied" in outcome.failure
    started = Counter(task.key for task in tasks(tmp_path / "run", "started"))
    assert len(started) <= 6
    assert max(started.values()) <= 4  # each fold once, and once again


def test_a_search_of_which_nothing_is_complete_does_not_end_well(tmp_path: Path) -> None:
    outcome = search(tmp_path / "run", mismatched(), search={"sampler": "random", "configs": 2})
    assert outcome.reason == "every configuration is complete or out"
    assert str(outcome.failure).startswith("no configuration is complete")
    assert "mat1 and mat2 shapes cannot be multiplied" in str(outcome.failure)


def test_workers_that_cannot_begin_are_no_lost_ones(tmp_path: Path) -> None:
    """A package that is missing everywhere must not be waited for fold by fold."""

    class Unfit(FoldTrainable):
        def prepare(self, config: Any) -> None:
            raise RuntimeError("libfoo is missing on this node")

    outcome = search(tmp_path / "run", Unfit, search={"sampler": "random", "configs": 12})
    assert "configuration after configuration" in outcome.reason
    assert "libfoo is missing" in str(outcome.failure)
    started = Counter(task.key for task in tasks(tmp_path / "run", "started"))
    assert len(started) <= 6
    assert max(started.values()) <= 4  # each fold once, and once again


def poisoned(lr: float) -> type[FoldTrainable]:
    class Poisoned(FoldTrainable):
        """At this rate the loss becomes NaN at the second epoch, as from an exploding step."""

        def epoch(self) -> dict[str, Any]:
            if self.epochs is not None and self.spec.trained.train.lr == lr:
                for weight in self.epochs.gi_frame.f_locals["run"].network.model.parameters():
                    weight.data.fill_(float("nan"))
            return super().epoch()

        def start(self) -> Any:
            from engine.training.fold import train_fold

            return train_fold(self.shared.job(self.task, self.spec), self.shared.pack, self.storage)

    return Poisoned


def test_a_loss_that_is_not_finite_fails_its_configuration_and_no_other(tmp_path: Path) -> None:
    first = {"sampler": "random", "configs": 3, "first": [{"train.lr": 0.005}]}
    search(tmp_path / "run", poisoned(0.005), search=first)
    bad = records(tmp_path / "run", "opened")[0]["config"]
    found = {c["config_id"]: c for c in summary(tmp_path / "run")["configs"]}
    assert found[bad]["status"] == "diverged"
    assert not found[bad]["validation"]
    assert sum(c["status"] == "complete" for c in found.values()) == 2
    assert summary(tmp_path / "run")["picked"]["config_id"] != bad
