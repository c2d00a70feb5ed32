"""Real searches whose disk is full, whose storage fails one call in ten, whose clock jumps. They end like one
that nothing has happened to, and leave nothing behind."""

import errno
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import file_systems, persist
from engine.errors import SonotuneError, StorageError
from engine.results import RunPaths
from engine.spec.text import dump
from engine.storage import open_storage
from tests import faulty
from tests.faulty import check_like, document, resume, search
from tests.run_folder import tasks
from tests.s3_server import CREDENTIALS, s3_server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900), pytest.mark.usefixtures("leaves_nothing")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of its own with room for about half of the search, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False).returncode:
        yield None
        return
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_stops_the_study_and_a_resume_goes_on(undisturbed: Path, small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("may not mount a file system here: the next test says so to every process instead")
    folder = small_disk / "run"
    with pytest.raises(SonotuneError, match="make room"):
        search(folder)
    assert not (folder / RunPaths.lock).exists()
    assert not tasks(folder, "ended", status="failed")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    resume(folder)
    check_like(folder, undisturbed)


FULL_DISK = f"""
import errno, os

def size(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names
               if os.path.exists(os.path.join(at, name)))

def sync(file, real=os.fsync, run=os.environ["RUN_FOLDER"]):
    if os.readlink(f"/proc/self/fd/{{file if isinstance(file, int) else file.fileno()}}").startswith(run):
        if size(run) > 500_000:
            raise OSError(errno.{errno.errorcode[errno.ENOSPC]}, "No space left on device")
    real(file)

os.fsync = sync
"""


def test_a_disk_that_says_it_is_full_stops_the_study_and_a_resume_goes_on(
    undisturbed: Path, tmp_path: Path, small_disk: Path | None
) -> None:
    """Where no file system may be mounted: every process that writes is told so, from halfway on."""
    if small_disk is not None:
        pytest.skip("a file system may be mounted here: the test before this one fills a real one")
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document()))
    settings = {"PYTHONPATH": f"{tmp_path}:{faulty.ROOT}", "RUN_FOLDER": str(folder)}
    process = faulty.driver(folder, "search", str(space), "--run", str(folder), **settings)
    assert process.wait(600) == 2
    assert "make room" in (tmp_path / "out.log").read_text()
    assert not (folder / RunPaths.lock).exists()
    assert tasks(folder, "started")
    assert not tasks(folder, "ended", status="failed")
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


def test_a_disk_that_fails_one_sync_in_ten_and_a_clock_that_jumps_change_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    """In the driver and in every worker; each question of the time has an answer of its own."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN_MACHINE)
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document()))
    path = f"{tmp_path}:{faulty.ROOT}"
    process = faulty.driver(folder, "search", str(space), "--run", str(folder), PYTHONPATH=path)
    assert process.wait(600) == 0
    check_like(folder, undisturbed)


def test_a_bucket_that_fails_one_call_in_ten_changes_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the driver's calls and of every worker's; what is asked for again may fail again."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    space, chance, spoiled = tmp_path / "space.yaml", random.Random(0), []
    space.write_text(dump(document()))

    def spoil(number: int, method: str) -> tuple[str, str] | None:
        if chance.random() >= 0.1:
            return None
        spoiled.append(number)
        return "503 Slow Down", "SlowDown"

    with s3_server() as server:
        server.spoil = spoil
        process = faulty.driver(tmp_path / "run", "search", str(space), "--run", server.uri("run"))
        assert process.wait(600) == 0, (tmp_path / "out.log").read_text()
        assert len(spoiled) > len(server.requests) / 20
        server.spoil = lambda number, method: None
        fetch(server.uri("run"), tmp_path / "run")
    check_like(tmp_path / "run", undisturbed)


def fetch(uri: str, folder: Path) -> None:
    """A run in a bucket as a run on a disk: its journal's segments one after the other."""
    source, target = open_storage(uri), open_storage(folder)

    def copy(path: str) -> None:
        names = source.list(path)
        for name in names:
            copy(f"{path}/{name}")
        if not names:
            target.write(path, source.read(path))

    for path in (RunPaths.study, RunPaths.folds, RunPaths.provenance, RunPaths.results):
        copy(path)
    segments = source.list(RunPaths.segments)
    target.write(RunPaths.journal, b"".join(source.read(f"{RunPaths.segments}/{name}") for name in segments))
    assert not source.exists(RunPaths.lock)


def test_a_server_that_takes_calls_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(file_systems.SILENCE, "request_timeout", 1.0)
    monkeypatch.setattr(persist, "PAUSES", (0.1,))
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        endpoint = f"scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{silent.getsockname()[1]}"
        storage = open_storage(f"s3://key:secret@bucket/run?{endpoint}")
        with pytest.raises(StorageError, match="see whether the storage answers"):
            storage.read("study.yaml")
