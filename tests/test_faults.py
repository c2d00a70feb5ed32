"""Real searches that are broken while they run. Each must end with the folds, means and pick of one that was
not, or say which fold failed and why; and leave nothing behind."""

import os
import random
import re
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.driver.worker import FoldTrainable, Shared
from engine.errors import SonotuneError
from engine.results import RunPaths, read_result
from engine.spec.text import dump
from engine.storage import LocalStorage
from engine.task import Task
from tests import faulty
from tests.faulty import check_ends, check_like, document, search
from tests.run_folder import records, summary, tasks

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # also on a busy machine
    pytest.mark.usefixtures("leaves_nothing"),
]

ONE_CONFIG = {"sampler": "random", "configs": 1}


# -- workers that go ---------------------------------------------------------------------------------


def doomed(notes: Path, hits: Sequence[int], how: signal.Signals = signal.SIGKILL) -> type[FoldTrainable]:
    """In these of the search's steps, counted over all workers, the worker is hit at a random moment: by its
    own hand, as a hand from outside may come too late for a quick search."""

    class Doomed(FoldTrainable):
        def epoch(self) -> dict[str, Any]:
            if (number := self.number()) in hits:
                (notes / f"hit-{number}").touch()
                moment = random.Random(number).uniform(0, 0.1)
                threading.Timer(moment, os.kill, (os.getpid(), how)).start()
            return super().epoch()

        def number(self) -> int:
            """Whoever makes the note of a number first has it."""
            for number in count(1):
                with suppress(FileExistsError):
                    (notes / f"step-{number}").touch(exist_ok=False)
                    return number
            raise AssertionError("numbers do not end")

    return Doomed


def test_killed_workers_cost_an_epoch_each_and_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", doomed(tmp_path, hits=(4, 9, 14, 19, 24)))
    assert len(list(tmp_path.glob("hit-*"))) == 5
    assert tasks(tmp_path / "run", "ended", status="interrupted")
    check_like(tmp_path / "run", undisturbed)


def test_what_a_worker_had_stored_when_it_was_lost_is_heard_from_the_next_one(tmp_path: Path) -> None:
    """Also its first epoch, with which it says how large its network is: that one cannot be picked."""

    class Silenced(FoldTrainable):
        def epoch(self) -> dict[str, Any]:
            told = super().epoch()
            if not (flag := tmp_path / self.task.fold).exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return told

    small = {"constraints": {"parameters": 10}}
    search(tmp_path / "run", Silenced, search=ONE_CONFIG | small, race={"rule": "median", "audit": 0},
           resources={"workers": 1, "device": "cpu"})  # fmt: skip
    assert tasks(tmp_path / "run", "ended", status="interrupted")
    assert [r["epoch"] for r in records(tmp_path / "run", "reported")] == [1]
    assert "breaks a bound" in records(tmp_path / "run", "dropped")[0]["reason"]


def test_a_worker_told_to_go_stores_its_epoch_and_is_heard(undisturbed: Path, tmp_path: Path) -> None:
    """No epoch is reported twice: what was in hand when the notice came is finished, stored and told."""
    folder = tmp_path / "run"
    search(folder, doomed(tmp_path, hits=(5, 13, 21), how=signal.SIGTERM))
    epochs = Counter((Task(**r["task"]), r["epoch"]) for r in records(folder, "reported"))
    assert tasks(folder, "ended", status="interrupted")
    assert set(epochs.values()) == {1}
    check_like(folder, undisturbed)


def stuck_once(flag: str) -> type[FoldTrainable]:
    class Stuck(FoldTrainable):
        def setup(self, config: dict[str, Any], shared: Shared) -> None:  # type: ignore[override]
            import engine.training.run_task  # noqa: F401  # nothing slow is left for the time that is limited

            super().setup(config, shared)

        def epoch(self) -> dict[str, Any]:
            if self.epochs is not None and self.task.fold == "r0-f1" and not os.path.exists(flag):
                Path(flag).touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return super().epoch()

    return Stuck


def test_a_hung_fold_is_ended_and_taken_up_again(tmp_path: Path) -> None:
    """Stopped by a signal: it neither computes nor answers, as if its driver call never returned."""
    train = {"epochs": 3, "batch": 8, "timeout": 20.0}
    search(tmp_path / "run", stuck_once(str(tmp_path / "flag")), train=train, search=ONE_CONFIG)
    assert [task.fold for task in tasks(tmp_path / "run", "ended", status="interrupted")] == ["r0-f1"]
    assert "no epoch has ended for 20 seconds" in (tmp_path / "run" / RunPaths.log).read_text()
    check_ends(tmp_path / "run")


def held_up(notes: Path) -> type[FoldTrainable]:
    """Each worker waits in its second step until the node has gone, so that it surely goes meanwhile."""

    class HeldUp(FoldTrainable):
        steps = 0

        def epoch(self) -> dict[str, Any]:
            self.steps += 1
            if self.steps == 2:
                (notes / f"waits-{os.getpid()}").touch()
                while not (notes / "gone").exists():
                    time.sleep(0.05)
            return super().epoch()

    return HeldUp


def test_a_node_that_is_gone_costs_its_folds_an_epoch(undisturbed: Path, tmp_path: Path) -> None:
    """Its raylet is killed, and with it its object store and its workers."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": quick})
    other = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    folder = tmp_path / "run"

    def end_the_node(over: threading.Event) -> None:
        faulty.wait_until(lambda: len(list(tmp_path.glob("waits-*"))) == 2)
        cluster.remove_node(other, allow_graceful=False)
        (tmp_path / "gone").touch()

    try:
        large = {"source": "phantom", "count": 750, "size": 256}
        with pytest.raises(SonotuneError, match=r"takes 94 MiB, .* holds 80 MiB; start Ray there"):
            search(tmp_path / "large", address=cluster.address, data=large)
        with faulty.meanwhile(end_the_node):
            search(folder, held_up(tmp_path), cluster.address)
    finally:
        cluster.shutdown()
        shutil.rmtree(Path(tempfile.gettempdir()) / "ray")
    assert tasks(folder, "ended", status="interrupted")
    check_like(folder, undisturbed)


# -- drivers that go, and files that are torn meanwhile ----------------------------------------------


def test_a_power_cut_a_killed_driver_and_torn_files_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    folder, space = tmp_path / "run", tmp_path / "space.yaml"
    space.write_text(dump(document()))
    checkpoint, left = _power_cut(folder, "search", str(space), "--run", str(folder))
    _flip(checkpoint)
    left += _killed_on_its_way(folder, "resume", str(folder))
    with (folder / RunPaths.journal).open("ab") as journal:
        journal.write(b'{"n":99,"event":"rep')
    whole = tasks(folder, "ended", status="complete")[0]
    _flip(folder / RunPaths.result(whole) / "result.json", b'"status"')
    assert faulty.driver(folder, "resume", str(folder)).wait(600) == 0
    assert "cut short and is dropped" in (tmp_path / "out.log").read_text()
    assert tasks(folder, "lost") == [whole]
    check_like(folder, undisturbed)
    faulty.wait_until(lambda: not faulty.alive(left), 120)


def _power_cut(folder: Path, *words: str) -> tuple[Path, list[faulty.Process]]:
    """The driver and all below it end at once, while some fold is half way: its checkpoint, and who is to be
    gone. All stand still for the second look, or the fold might end between the look and the cut."""
    process = faulty.driver(folder, *words)
    below: list[faulty.Process] = []

    def half_way() -> Path | None:
        if _checkpoint(folder) is None:
            return None
        process.send_signal(signal.SIGSTOP)
        below[:] = faulty.offspring(process.pid)
        faulty.send(below, signal.SIGSTOP)
        found = _checkpoint(folder)
        faulty.send(below, signal.SIGKILL if found else signal.SIGCONT)
        process.send_signal(signal.SIGKILL if found else signal.SIGCONT)
        return found

    checkpoint = faulty.wait_until(half_way)
    process.wait()
    return checkpoint, below


def _checkpoint(folder: Path) -> Path | None:
    """Of a fold that has not ended."""
    with suppress(FileNotFoundError):
        return next(folder.glob("checkpoints/*/*/last.pt"), None)
    return None


def _killed_on_its_way(folder: Path, *words: str) -> list[faulty.Process]:
    """The processes that the driver had. Some fold is complete by then."""
    process, before = faulty.driver(folder, *words), len(tasks(folder, "reported"))
    faulty.wait_until(lambda: len(tasks(folder, "reported")) > before + 3)
    faulty.wait_until(lambda: tasks(folder, "ended", status="complete"))
    below = faulty.offspring(process.pid)
    process.kill()
    process.wait()
    return below


def _flip(path: Path, after: bytes | None = None) -> None:
    """One bit, in the middle or at the end of these words: the last digits of a number may read the same."""
    data = bytearray(path.read_bytes())
    data[data.index(after) + len(after) - 2 if after else len(data) // 2] ^= 1
    path.write_bytes(data)


# -- memory ------------------------------------------------------------------------------------------


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


# -- errors of the code, and losses ------------------------------------------------------------------


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
