"""Real searches that are broken while they run: workers, nodes and drivers that go. Each must end with the
folds, means and pick of one that was not, and leave nothing behind."""

import os
import random
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
from tests.faulty import ONE_CONFIG, check_ends, check_like, document, search
from tests.run_folder import records, tasks

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),  # also on a busy machine
    pytest.mark.usefixtures("leaves_nothing"),
]


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


def stuck() -> type[FoldTrainable]:
    """Does not come to the end of its first epoch, at any try."""

    class Stuck(FoldTrainable):
        def epoch(self) -> dict[str, Any]:
            if self.task.fold == "r0-f1":
                os.kill(os.getpid(), signal.SIGSTOP)
            return super().epoch()

    return Stuck


def test_a_fold_that_hangs_and_may_not_be_tried_again_fails_for_its_time_limit(tmp_path: Path) -> None:
    train = {"epochs": 3, "batch": 8, "timeout": 20.0, "retries": 0}
    search(tmp_path / "run", stuck(), train=train, search=ONE_CONFIG)
    (failed,) = tasks(tmp_path / "run", "ended", status="failed")
    result = read_result(LocalStorage(tmp_path / "run"), failed)
    assert result is not None
    assert result.error == "the worker was lost: no epoch has ended for 20 seconds (train.timeout)"


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
