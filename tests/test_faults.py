"""Real searches that are broken while they run. Each must end with the folds, means and pick of one that was
not, or say which fold failed and why; and leave nothing behind."""

import errno
import os
import resource
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from engine.data.load import load
from engine.driver import launch
from engine.driver.faults import FIRST_PAUSE, Diet, Faults, Verdict, kind_of
from engine.driver.pauses import Pauses
from engine.driver.store import check_room
from engine.driver.watch import Watch
from engine.driver.worker import FoldTrainable
from engine.errors import SonotuneError, StorageError
from engine.results import RunPaths, read_result
from engine.spec.load import study_of
from engine.spec.text import dump
from engine.storage import LocalStorage
from engine.task import Task
from tests import faulty
from tests.faulty import check_ends, check_like, document, nothing_left_behind, records, search, tasks

ONE_CONFIG = {"sampler": "random", "configs": 1}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    search(folder)
    return folder


def resume(folder: Path) -> None:
    with open(os.devnull, "w") as nowhere:
        launch.resume(str(folder), Console(file=nowhere))


# -- workers that go ---------------------------------------------------------------------------------


@pytest.mark.faults
def test_killed_workers_cost_an_epoch_each_and_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    with faulty.meanwhile(lambda over: killed.extend(faulty.kill_workers(tmp_path / "run", over, every=5))):
        search(tmp_path / "run")
    assert len(killed) > 2
    assert tasks(tmp_path / "run", "ended", status="interrupted")
    check_like(tmp_path / "run", undisturbed)


@pytest.mark.faults
def test_a_worker_told_to_go_stores_its_epoch_and_is_heard(undisturbed: Path, tmp_path: Path) -> None:
    """No epoch is reported twice: what was in hand when the notice came is finished, stored and told."""
    folder = tmp_path / "run"

    with faulty.meanwhile(lambda over: faulty.kill_workers(folder, over, 8, signal.SIGTERM)):
        search(folder)
    epochs = Counter((Task(**r["task"]), r["epoch"]) for r in records(folder, "reported"))
    assert tasks(folder, "ended", status="interrupted")
    assert set(epochs.values()) == {1}
    check_like(folder, undisturbed)


def stuck_once(flag: str) -> type[FoldTrainable]:
    class Stuck(FoldTrainable):
        def epoch(self) -> dict[str, Any]:
            if self.epochs is not None and self.task.fold == "r0-f1" and not os.path.exists(flag):
                Path(flag).touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return super().epoch()

    return Stuck


@pytest.mark.faults
def test_a_hung_fold_is_ended_and_taken_up_again(tmp_path: Path) -> None:
    """Stopped by a signal: it neither computes nor answers, as if its driver call never returned."""
    train = {"epochs": 3, "batch": 8, "timeout": 20.0}
    search(tmp_path / "run", stuck_once(str(tmp_path / "flag")), train=train, search=ONE_CONFIG)
    assert [task.fold for task in tasks(tmp_path / "run", "ended", status="interrupted")] == ["r0-f1"]
    assert "no epoch has ended for 20 seconds" in (tmp_path / "run" / RunPaths.log).read_text()
    check_ends(tmp_path / "run")


@pytest.mark.faults
def test_a_node_that_is_gone_costs_its_folds_an_epoch(undisturbed: Path, tmp_path: Path) -> None:
    """Its raylet is killed, and with it its object store and its workers."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": quick})
    other = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    folder = tmp_path / "run"

    def end_the_node(over: threading.Event) -> None:
        faulty.wait_until(lambda: (folder / RunPaths.journal).exists() and len(tasks(folder, "reported")) > 4)
        cluster.remove_node(other, allow_graceful=False)

    try:
        large = {"source": "phantom", "count": 750, "size": 256}
        with pytest.raises(SonotuneError, match=r"takes 94 MiB, .* holds 80 MiB; start Ray there"):
            search(tmp_path / "large", address=cluster.address, data=large)
        with faulty.meanwhile(end_the_node):
            search(folder, address=cluster.address)
    finally:
        cluster.shutdown()
    assert len(ray.nodes() if ray.is_initialized() else []) == 0
    check_like(folder, undisturbed)


# -- drivers that go, and files that are torn meanwhile ----------------------------------------------


@pytest.mark.faults
def test_a_driver_killed_again_and_again_and_torn_files_change_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder, space = tmp_path / "run", tmp_path / "space.yaml"
    space.write_text(dump(document()))
    left = _killed_after(folder, "search", str(space), "--run", str(folder), reports=5)
    _flip(next(folder.glob("checkpoints/*/*/last.pt")))
    left += _killed_after(folder, "resume", str(folder), reports=14)
    with (folder / RunPaths.journal).open("ab") as journal:
        journal.write(b'{"n":99,"event":"rep')
    _flip(next(folder.glob("results/*/*/result.json")))
    assert faulty.driver(folder, "resume", str(folder)).wait(240) == 0
    assert "cut short and is dropped" in (tmp_path / "out.log").read_text()
    check_like(folder, undisturbed)
    assert len(left) > 6
    faulty.wait_until(lambda: not faulty.alive(left), 120)


def _killed_after(folder: Path, *words: str, reports: int) -> list[faulty.Process]:
    """The processes that the driver had."""
    process = faulty.driver(folder, *words)
    faulty.wait_until(
        lambda: (folder / RunPaths.journal).exists() and len(tasks(folder, "reported")) >= reports
    )
    below = faulty.offspring(process.pid)
    process.kill()
    process.wait()
    return below


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
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
    "data": {"source": "phantom", "count": 150, "size": 64},
    "model": {"name": "unet_mtl", "width": 16, "depth": 2},
    "train": {"epochs": 2, "batch": 64},
    "search": ONE_CONFIG,
}


@pytest.mark.faults
def test_a_fold_that_exhausts_memory_goes_on_with_half_of_each_batch(tmp_path: Path) -> None:
    search(tmp_path / "run", confined(320), **HUNGRY)
    check_ends(tmp_path / "run")
    for task in tasks(tmp_path / "run", "ended", status="complete"):
        result = read_result(LocalStorage(tmp_path / "run"), task)
        assert result is not None
        assert (result.status, result.micro_batches) == ("complete", 2)
        assert "memory ran out" in result.warnings[-1]


@pytest.mark.faults
def test_a_fold_that_never_fits_is_tried_alone_and_then_reported(tmp_path: Path) -> None:
    search(tmp_path / "run", confined(150), **HUNGRY)
    started = Counter(tasks(tmp_path / "run", "started"))
    assert set(started.values()) == {3}  # as it is, in halves, alone
    for task in started:
        result = read_result(LocalStorage(tmp_path / "run"), task)
        assert result is not None
        assert result.status == "failed"
        assert "allocate" in result.error.lower() or "primitive" in result.error
    check_ends(tmp_path / "run")


# -- errors of the code, and losses ------------------------------------------------------------------


def mismatched() -> type[FoldTrainable]:
    class Mismatched(FoldTrainable):
        def start(self) -> Any:
            import torch

            return torch.nn.Linear(3, 4)(torch.zeros(1, 5))

    return Mismatched


@pytest.mark.faults
def test_the_same_error_everywhere_stops_the_study_with_its_traceback(tmp_path: Path) -> None:
    outcome = search(tmp_path / "run", mismatched(), search={"sampler": "random", "configs": 12})
    assert "configuration after configuration" in outcome.reason
    assert outcome.failure is not None
    assert "mat1 and mat2 shapes cannot be multiplied" in outcome.failure
    started = Counter(task.key for task in tasks(tmp_path / "run", "started"))
    assert len(started) <= 6
    assert max(started.values()) <= 4  # each fold once, and once again


def poisoned(flag: str) -> type[FoldTrainable]:
    class Poisoned(FoldTrainable):
        """The first configuration's loss becomes NaN at its second epoch, as from an exploding step."""

        def epoch(self) -> dict[str, Any]:
            if not os.path.exists(flag):
                Path(flag).write_text(self.task.key)
            if self.epochs is not None and self.task.key == Path(flag).read_text():
                for weight in self.epochs.gi_frame.f_locals["run"].network.model.parameters():
                    weight.data.fill_(float("nan"))
            return super().epoch()

        def start(self) -> Any:
            from engine.training.fold import train_fold

            return train_fold(self.shared.job(self.task, self.record), self.shared.pack, self.storage)

    return Poisoned


@pytest.mark.faults
def test_a_loss_that_is_not_finite_fails_its_configuration_and_no_other(tmp_path: Path) -> None:
    search(tmp_path / "run", poisoned(str(tmp_path / "flag")), race={"rule": "reserve"})
    bad = (tmp_path / "flag").read_text()
    found = {c["config_id"]: c for c in faulty.summary(tmp_path / "run")["configs"]}
    assert found[bad]["status"] == "diverged"
    assert not found[bad]["validation"]
    assert sum(c["status"] == "complete" for c in found.values()) == 2
    assert faulty.summary(tmp_path / "run")["picked"]["config_id"] != bad


# -- disks and clocks --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for about half of the search."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False).returncode:
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.faults
def test_a_full_disk_stops_the_study_and_a_resume_goes_on(undisturbed: Path, small_disk: Path) -> None:
    folder = small_disk / "run"
    with pytest.raises(SonotuneError, match="make room"):
        search(folder)
    assert not (folder / RunPaths.lock).exists()
    assert not tasks(folder, "ended", status="failed")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    resume(folder)
    check_like(folder, undisturbed)


BROKEN_MACHINE = f"""
import errno, os, random, time
chance, wall, began = random.Random(os.getpid()), time.time, time.time()

def sync(file, real=os.fsync):
    if chance.random() < 0.1:
        raise OSError(errno.{errno.errorcode[errno.EIO]}, "Input/output error")
    real(file)

os.fsync = sync
time.time = lambda: wall() + 86400 * chance.uniform(-9, 9)
"""


@pytest.mark.faults
def test_a_disk_that_fails_one_sync_in_ten_and_a_clock_that_jumps_change_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    """In the driver and in every worker; each question of the time has an answer of its own."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN_MACHINE)
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document()))
    path = f"{tmp_path}:{faulty.ROOT}"
    process = faulty.driver(folder, "search", str(space), "--run", str(folder), PYTHONPATH=path)
    assert process.wait(280) == 0
    check_like(folder, undisturbed)


# -- the rules by themselves -------------------------------------------------------------------------


A, B = Task("a", "r0-f0"), Task("a", "r0-f1")


def test_pauses_double_and_end_in_giving_up() -> None:
    faults = Faults()
    verdicts = [faults.lost(A, retries=3) for _ in range(4)]
    assert [v.pause for v in verdicts[:3]] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert verdicts[3].act == "give up"


def test_a_worker_lost_after_progress_uses_up_no_retry() -> None:
    faults = Faults()
    assert {faults.lost(A, retries=1, progressed=True).act for _ in range(50)} == {"retry"}
    assert faults.lost(A, retries=1).act == "retry"
    assert faults.lost(A, retries=1).act == "give up"


def test_the_same_error_on_two_folds_breaks_the_configuration() -> None:
    faults = Faults()
    assert faults.error(A, "ValueError at x:1", 5, "text").act == "retry"
    assert faults.error(B, "ValueError at x:1", 5, "text").act == "give up"
    assert faults.broken == {"a": "text"}


def test_memory_is_saved_by_halves_then_by_being_alone() -> None:
    faults = Faults()
    assert faults.memory(A, shared=True) == Verdict("retry")
    assert faults.diet(A) == Diet(parts=2)
    assert faults.memory(A, shared=True) == Verdict("retry alone")
    assert faults.diet(A) == Diet(parts=2, alone=True)
    assert faults.memory(A, shared=True) == Verdict("give up")
    assert [faults.memory(B, shared=False).act for _ in range(2)] == ["retry", "give up"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
        (StorageError("cannot write x: there is no room left; make room, then resume"), "storage"),
        (SonotuneError("this model runs out of memory of its own words"), "error"),
    ],
)
def test_errors_are_told_apart(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


def test_a_pause_ends_by_its_clock_and_a_lone_fold_waits_for_the_others() -> None:
    clock = iter([0.0, 1.0, 3.0])
    pauses = Pauses(lambda: next(clock))
    pauses.hold(A, 2.0, {"held": 1.0})
    pauses.hold_until_idle(B, {})
    assert pauses.over() == []
    assert pauses.over() == [(A, {"held": 1.0})]
    assert pauses.next_alone() == (B, {})
    assert pauses.next_alone() is None
    assert A not in pauses


def test_silence_is_counted_from_the_last_word() -> None:
    clock = iter([0.0, 0.0, 5.0, 7.0, 8.0])
    watch = Watch(lambda: next(clock))
    assert watch.silence("t") == 0.0
    watch.hear("t")
    assert watch.silence("t") == 2.0


def test_the_smallest_object_store_must_hold_the_data(tmp_path: Path) -> None:
    pack = load(study_of(document(), "test").fixed.data, tmp_path)
    node = {"NodeManagerHostname": "n1", "Alive": True, "Resources": {"object_store_memory": 1000.0}}
    with pytest.raises(SonotuneError, match="object store on n1 holds 0 MiB; start Ray there"):
        check_room(pack, [node])
    check_room(pack, [node | {"Alive": False}])
