"""What the tests of faults share: a small search, ways to break it, and what must hold when it has ended."""

import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.driver import launch
from engine.driver.session import Outcome
from engine.driver.worker import FoldTrainable
from engine.lock.holder import start_time
from engine.results import RunPaths, read_result
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.task import Task
from tests.run_folder import digits, records, summary, tasks

ROOT = Path(__file__).parents[1]

ONE_CONFIG = {"sampler": "random", "configs": 1}

Process = tuple[int, str | None]  # pid and start, as pids come again


def document(**sections: Any) -> dict[str, Any]:
    """Enough epochs to be hit in the middle; sections are laid over, not merged."""
    return {
        "study": "faults",
        "data": {"source": "phantom", "count": 48, "size": 32},
        "folds": {"k": 2},
        "model": {"name": "unet_mtl", "width": 4, "depth": 2},
        "train": {"epochs": 6, "batch": 8, "lr": {"loguniform": [1e-4, 1e-2]}, "retries": 5},
        "search": {"sampler": "random", "configs": 3},
        "race": {"rule": "none"},
        "resources": {"workers": 2, "device": "cpu"},
        **sections,
    }


def search(
    folder: Path,
    trainable: type[FoldTrainable] = FoldTrainable,
    address: str | None = None,
    **sections: Any,
) -> Outcome:
    study = study_of(document(**sections), "test")
    with open(os.devnull, "w") as nowhere:
        return launch.search(study, str(folder), Console(file=nowhere), address, trainable=trainable)


def resume(folder: Path) -> None:
    with open(os.devnull, "w") as nowhere:
        launch.resume(str(folder), Console(file=nowhere))


def driver(folder: Path, *words: str, leads: bool = False, **environment: str) -> subprocess.Popen[bytes]:
    """`sonotune` as a user starts it; `leads` a process group of its own, as what a shell or a job starts."""
    code = "from engine.cli import main; main()"
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    with (folder.parent / "out.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=log,
            stderr=log,
            env=settings,
            process_group=0 if leads else None,
        )


# -- what must hold in the end ----------------------------------------------------------------------


def check_ends(folder: Path) -> None:
    """Every configuration's every fold ended once, or failed and says why; only whole ones have means."""
    names = [fold["name"] for fold in json.loads((folder / RunPaths.folds).read_text())["folds"]]
    complete = Counter(tasks(folder, "ended", status="complete"))
    lost = Counter(tasks(folder, "lost"))
    for config in (r["config"] for r in records(folder, "opened")):
        for task in (Task(config, name) for name in names):
            result = read_result(LocalStorage(folder), task)
            assert result is not None, f"{task.folder} has no result"
            assert complete[task] == (1 + lost[task] if result.status == "complete" else 0)
            assert result.status == "complete" or result.error
    for config in summary(folder)["configs"]:
        assert bool(config["validation"]) == (config["folds_done"] == len(names))
    assert not (folder / RunPaths.lock).exists()


def check_like(folder: Path, undisturbed: Path) -> None:
    """Nothing that happened has left a trace in any number or decision."""
    check_ends(folder)
    assert digits(folder) == digits(undisturbed)
    assert summary(folder)["picked"] == summary(undisturbed)["picked"]


# -- processes ---------------------------------------------------------------------------------------


def offspring(pid: int) -> list[Process]:
    """All processes below this one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    below, found = {pid}, True
    while found:
        found = {child for child, parent in parents.items() if parent in below} - below
        below |= found
    return [(child, start_time(child)) for child in below - {pid}]


def wait_until(what: Callable[[], Any], seconds: float = 300.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} seconds")


def send(processes: list[Process], what: signal.Signals) -> None:
    for pid, _ in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def alive(processes: list[Process]) -> list[int]:
    return [pid for pid, start in processes if start is not None and start_time(pid) == start]


@contextmanager
def nothing_left_behind() -> Iterator[str]:
    """No process below this one, no open file, no shared memory; yields a place for temporary files, which
    must be empty in the end. Short, as it holds sockets."""
    place = tempfile.mkdtemp(prefix="sf-", dir="/tmp")
    before, usual = (_open_files(), _shared_memory(), set(offspring(os.getpid()))), tempfile.tempdir
    tempfile.tempdir = os.environ["TMPDIR"] = place
    try:
        yield place
        wait_until(lambda: set(offspring(os.getpid())) <= before[2], 120)
        left = [name for name in os.listdir(place) if name not in TORCHS_OWN]
        assert left == [], left
        assert _shared_memory() <= before[1]
        assert _open_files() <= before[0] + SPARE_FILES, os.listdir("/proc/self/fd")
    finally:
        tempfile.tempdir = usual
        del os.environ["TMPDIR"]
        shutil.rmtree(place)


TORCHS_OWN = (f"torchinductor_{getpass.getuser()}",)  # its cache, wherever temporary files are
SPARE_FILES = 16  # what the first Ray of a process opens once and for all


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _shared_memory() -> set[str]:
    """Ray unlinks its object store's file at once, so that nobody's is ever seen here."""
    return {path.name for path in Path("/dev/shm").glob("plasma*")}


@contextmanager
def meanwhile(what: Callable[[threading.Event], None]) -> Iterator[None]:
    """Does this in a thread until the search is over; what goes wrong there fails the test."""
    over, wrong = threading.Event(), []

    def run() -> None:
        try:
            what(over)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not wrong, wrong
