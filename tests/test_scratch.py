"""What drivers leave in the temporary directory, and who takes it away."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from engine.driver import scratch as room
from engine.driver.scratch import OWNER, PREFIX, scratch, sweep, users
from engine.errors import SonotuneError
from engine.lock.holder import Holder, encode


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(room, "home", lambda: tmp_path)
    return tmp_path


def test_a_temporary_folder_too_deep_for_rays_sockets_gives_way_to_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked against what the system itself takes."""
    monkeypatch.undo()
    short, deep = "/" + "s" * 24, "/" + "d" * 25
    for usual, found in ((short, short), (deep, "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", usual)
        assert str(room.home()) == found
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(FileNotFoundError):
        one.bind(short + room.BELOW)
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="too long"):
        one.bind(deep + room.BELOW)


def test_no_short_folder_for_sockets_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "d" * 40)
    monkeypatch.setattr(room, "SHORT", tmp_path / "missing")
    with pytest.raises(SonotuneError, match=r"TMPDIR: /scratch/d+ is too long.*set TMPDIR to a shorter"):
        room.home()


def left(place: Path, name: str, holder: Holder) -> Path:
    folder = place / f"{PREFIX}{name}"
    (folder / "session" / "logs").mkdir(parents=True)
    (folder / "session" / "logs" / "raylet.out").touch()
    os.symlink("session", folder / "session_latest")
    (folder / OWNER).write_bytes(encode(holder))
    return folder


def killed() -> Holder:
    return replace(Holder.me(), started="1")


def test_a_drivers_own_folder_goes_with_it_and_so_does_what_a_killed_one_left_meanwhile(place: Path) -> None:
    with scratch() as own:
        assert own.exists()
        left(place, "killed", killed())
    assert list(place.iterdir()) == []


def test_a_folder_of_a_living_driver_stays(place: Path) -> None:
    other = left(place, "alive", Holder.me())
    with scratch():
        pass
    assert (other / "session" / "logs" / "raylet.out").exists()


STUBBORN = """
import os, sys, time
log = open(sys.argv[1] + "/session/logs/raylet.out", "a") if len(sys.argv) > 1 else sys.stdin
print("ready", flush=True)
while True:
    time.sleep(0.01)
    log.name != "<stdin>" and os.makedirs(os.path.dirname(log.name), exist_ok=True)
"""


def living(*words: str, **how: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, *words], stdout=subprocess.PIPE, **how)  # type: ignore[call-overload]
    assert process.stdout.readline() == b"ready\n"
    return process


def test_what_a_killed_driver_started_ends_and_writes_no_folder_anew(place: Path) -> None:
    folder, other = left(place, "killed", killed()), left(place, "killed-too", Holder.me())
    named, beside = living(str(folder)), living(str(other))
    with (folder / "session" / "logs" / "worker.out").open("w") as log:
        holding = living(stdin=log)
    try:
        assert set(users(folder)) == {named.pid, holding.pid}
        sweep()
        assert named.wait(5) == holding.wait(5) == -9
        assert beside.poll() is None
        assert not folder.exists()
    finally:
        for process in (named, holding, beside):
            process.kill()
            process.wait()


def test_where_something_writes_on_the_next_sweep_finds_the_folder_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, remove = left(place, "writing", killed()), room.shutil.rmtree

    def outrun(path: Path, **how: bool) -> None:
        remove(path, **how)
        (folder / "session").mkdir(exist_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "rmtree", outrun)
        sweep()
    assert (folder / OWNER).exists()
    sweep()
    assert not folder.exists()


ONCE_IT_RUNS = """
with connected(None, 1):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
WHILE_RAY_STARTS = """
def tell():
    while not getattr(signal.getsignal(signal.SIGTERM), "__module__", "").startswith("ray."):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=tell, daemon=True).start()
with connected(None, 1):
    time.sleep(60)
"""


@pytest.mark.faults
@pytest.mark.parametrize("script", [ONCE_IT_RUNS, WHILE_RAY_STARTS], ids=["once it runs", "while Ray starts"])
def test_a_driver_told_to_go_before_it_hands_out_anything_goes_quietly(script: str) -> None:
    told = "import os, signal, threading, time\nfrom engine.driver.cluster import connected" + script
    root = Path(__file__).parents[1]
    process = subprocess.run([sys.executable, "-c", told], cwd=root, capture_output=True, text=True)
    assert "SIGTERM received" not in process.stderr
    assert process.returncode == -signal.SIGINT  # as Python ends after Ctrl-C
