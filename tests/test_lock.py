"""One driver at a time holds a run: by the kernel's lock on a disk, and what is left of a dead one."""

import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import SonotuneError
from engine.journal.journal import Journal, read_journal
from engine.lock import holder, lock
from engine.lock.holder import Holder, encode, parse, start_time
from engine.lock.lease import Lease
from engine.lock.lock import FileLock, hold
from engine.sampler.mirror import _Appended
from engine.storage import LocalStorage
from tests.test_journal import files_of_at_most

DRIVER = """
import sys, time
from engine.lock.lock import hold
from engine.sampler.mirror import _Appended
from engine.storage import LocalStorage
held = hold(LocalStorage(__import__("pathlib").Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""
SHORT = {"beat": 0.05, "silent": 4.0, "settle": 0.02}


@pytest.fixture
def other_driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def elsewhere(token: str = "other") -> Holder:
    return Holder(token, 4711, "99", "another-boot/pid:[1]", "node7", "eva", "2026-01-01 10:00:00 UTC")


def test_a_second_driver_is_refused_and_told_who_holds_the_run(
    tmp_path: Path, other_driver: subprocess.Popen[str]
) -> None:
    with pytest.raises(
        SonotuneError, match=rf"held by process {other_driver.pid} of .*kill {other_driver.pid}"
    ):
        hold(LocalStorage(tmp_path))


def test_a_killed_driver_leaves_no_lock_behind(tmp_path: Path, other_driver: subprocess.Popen[str]) -> None:
    os.kill(other_driver.pid, signal.SIGKILL)
    other_driver.wait()
    with hold(LocalStorage(tmp_path)) as held:
        assert f"process {other_driver.pid}" in str(held.taken_over)
    assert not (tmp_path / "lock").exists()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        with hold(LocalStorage(tmp_path)) as held:
            assert held.taken_over is None
            held.check()


def test_one_process_cannot_hold_a_run_twice(tmp_path: Path) -> None:
    with hold(LocalStorage(tmp_path)), pytest.raises(SonotuneError, match="only one driver"):
        hold(LocalStorage(tmp_path))


def test_the_lock_is_held_by_exactly_one_of_many_that_try(tmp_path: Path) -> None:
    held: list[FileLock] = []

    def attempt() -> None:
        try:
            held.append(FileLock(tmp_path / "lock"))
        except SonotuneError:
            return

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(held) == 1
    held[0].release()


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b'{"pid": 3}'])
def test_a_damaged_lock_file_does_not_stop_a_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    held = hold(LocalStorage(tmp_path))
    assert str(os.getpid()) in (tmp_path / "lock").read_text()
    held.release()
    assert not (tmp_path / "lock").exists()


def test_a_pid_that_came_again_is_not_the_old_process() -> None:
    me = Holder.me()
    assert not me.gone()
    assert Holder(**{**vars(me), "started": "1"}).gone()
    assert not Holder(**{**vars(me), "started": "1", "place": "elsewhere"}).gone()


def test_a_holder_is_named_by_whom_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says of it, or does not."""
    monkeypatch.setenv("USER", "somebody-else")
    assert Holder.me().user == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert Holder.me().user == "user 4000000"


def test_nobody_is_gone_where_nothing_tells_when_processes_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "start_time", lambda pid: None)
    assert not Holder.me().gone()


def test_a_process_that_has_ended_and_was_not_waited_for_is_gone() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    held = Holder(**{**vars(Holder.me()), "pid": child.pid, "started": start_time(child.pid) or ""})
    assert not held.gone()
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert held.gone()
    child.wait()


def test_a_lock_file_that_is_deleted_while_it_is_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, deleted = FileLock._open, list[bool]()

    def released_meanwhile(self: FileLock) -> int:
        file = usual(self)
        if not deleted:
            self.path.unlink()
            deleted.append(True)
        return file

    monkeypatch.setattr(FileLock, "_open", released_meanwhile)
    with FileLock(tmp_path / "lock"), pytest.raises(SonotuneError, match="held by process"):
        FileLock(tmp_path / "lock")


def test_a_full_disk_is_a_clear_error_and_leaves_the_run_free(tmp_path: Path) -> None:
    with files_of_at_most(0), pytest.raises(SonotuneError, match=r"cannot write the lock.*make room"):
        FileLock(tmp_path / "lock")
    FileLock(tmp_path / "lock").release()


def test_a_file_system_without_locks_gets_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    monkeypatch.setattr(Lease.__init__, "__defaults__", (0.05, 4.0, 0.01))
    with hold(LocalStorage(tmp_path)) as held:
        assert isinstance(held, Lease)


def test_a_living_lease_is_refused(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with Lease(storage, **SHORT), pytest.raises(SonotuneError, match="held by process"):
        Lease(storage, **SHORT)
    assert not storage.exists("lock")


def test_a_lease_of_a_dead_process_of_this_machine_is_taken_at_once(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("lock", encode(Holder(**{**vars(Holder.me()), "started": "1", "token": "x"})))
    start = time.monotonic()
    Lease(storage, beat=1, silent=90, settle=0.02).release()
    assert time.monotonic() - start < 45  # watching it takes 90 s; 3 s are for a disk that writes slowly


def test_a_silent_lease_of_another_machine_is_taken_over_after_watching_it(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("lock", encode(elsewhere()))
    with Lease(storage, **SHORT) as held:
        assert "process 4711 of eva on node7" in str(held.taken_over)


def test_a_driver_that_loses_its_lease_stops(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    held = Lease(storage, **SHORT)
    storage.write("lock", encode(elsewhere()))
    deadline = time.monotonic() + 60
    while held._lost is None and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(SonotuneError, match=r"lost the lock.*node7"):
        held.check()
    held.release()
    remaining = parse(storage.read("lock"))
    assert remaining is not None
    assert remaining.token == "other"


def test_a_journal_of_a_driver_that_lost_its_lock_writes_no_more(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with Lease(storage, **SHORT) as held:
        journal = Journal(storage, guard=held.check)
        journal.append({"event": "before"})
        journal.commit()
        held._lost = "it was taken over"
        journal.append({"event": "after"})
        with pytest.raises(SonotuneError, match="lost the lock"):
            journal.commit()
    assert read_journal(storage)[0] == [{"event": "before"}]


def test_of_two_leases_begun_together_at_most_one_is_held(tmp_path: Path) -> None:
    storage, held = LocalStorage(tmp_path), []

    def attempt() -> None:
        try:
            held.append(Lease(storage, beat=0.5, silent=2, settle=0.3))
        except SonotuneError:
            return

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(held) == 1
    held[0].release()


def test_a_group_that_may_write_into_a_run_folder_may_go_on_with_each_others_runs(tmp_path: Path) -> None:
    """What files may be done with is for the user's umask to say, as of those that Python itself opens."""
    usual = os.umask(0o002)
    try:
        with FileLock(tmp_path / "lock"), Journal(LocalStorage(tmp_path)) as journal:
            journal.append({"event": "study"})
            _Appended(str(tmp_path / "optuna.log")).add(b"{}")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(usual)
    assert modes == {"lock": 0o664, "journal.jsonl": 0o664, "optuna.log": 0o664}
