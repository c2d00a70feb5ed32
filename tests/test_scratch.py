"""What drivers leave in the temporary directory, and who takes it away."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from engine.driver import scratch as room
from engine.driver.scratch import OWNER, PREFIX, scratch, sweep
from engine.lock.holder import Holder, encode


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


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
