"""A lease under bad conditions: slow writes, holders that were cut off, machines with and without flock."""

import threading
import time
from pathlib import Path

import pytest

from engine.errors import SonotuneError
from engine.journal.journal import Journal, read_journal
from engine.lock import lease as leases
from engine.lock.holder import KERNEL, Holder, by_kernel, encode, parse
from engine.lock.lease import Lease
from engine.lock.lock import FileLock, NoFlock, hold
from engine.results import RunPaths
from engine.storage import LocalStorage
from tests.test_lock import SHORT, elsewhere


def believes(lease: Lease) -> bool:
    try:
        lease.check()
    except SonotuneError:
        return False
    return True


def test_a_lease_whose_write_was_long_on_its_way_is_believed_when_nobody_else_does_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has landed on the confirmed lease of another, who has not looked since."""
    monkeypatch.setattr(Lease, "_beat", lambda self, beat: None)
    terms, quick = {"beat": 0.5, "silent": 10.0, "settle": 0.1}, list[Lease]()

    class Overtaken(LocalStorage):
        def write(self, path: str, data: bytes) -> None:
            if not quick:
                time.sleep(terms["settle"])
                quick.append(Lease(LocalStorage(tmp_path), **terms))
            super().write(path, data)

    late = Lease(Overtaken(tmp_path), **terms)
    assert [believes(lease) for lease in (*quick, late)] == [False, True]


def test_a_sign_that_lands_on_the_lease_of_a_successor_wins_nothing_back(tmp_path: Path) -> None:
    """A driver that was stopped between looking and writing knows nothing of what the other has journaled."""
    way, terms = threading.Event(), {"beat": 0.1, "silent": 4.0, "settle": 0.05}

    class Detour(LocalStorage):
        def write(self, path: str, data: bytes) -> None:
            if b'"beats": 0' not in data:
                way.wait()
            super().write(path, data)

    late = Lease(Detour(tmp_path), **terms)
    time.sleep(2 * terms["beat"])
    successor = Lease(LocalStorage(tmp_path), **terms)
    way.set()
    assert not believes(late)
    late.release()
    time.sleep(3 * terms["beat"])
    assert not believes(successor)


def test_a_holder_whose_machine_slept_looks_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, real, asleep = LocalStorage(tmp_path), time.clock_gettime, [0.0]
    clock = {time.CLOCK_BOOTTIME: asleep}
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) + sum(clock.get(which, ())))
    monkeypatch.setattr(Lease, "_beat", lambda self, beat: None)
    lease = Lease(storage, beat=5, silent=4, settle=1)
    storage.write(RunPaths.lock, encode(elsewhere(), 7))
    assert believes(lease)  # it has just looked
    asleep.append(3600.0)
    assert not believes(lease)


def test_a_sign_of_life_is_good_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(leases, "uptime", lambda: now[0])
    monkeypatch.setattr(Lease, "_beat", lambda self, beat: None)
    lease = Lease(LocalStorage(tmp_path), **SHORT)
    now[0] = 3600.0
    assert believes(lease)
    given = lease._read()
    assert believes(lease)
    assert lease._read() == given
    now[0] += 1.0
    assert believes(lease)
    assert lease._read() != given


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A holder that gives no sign any more, for longer than it may believe in its lease."""
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_beat", lambda self, beat: None)
        lease = Lease(LocalStorage(tmp_path), **SHORT)
    time.sleep(5 * SHORT["beat"])
    return lease


def test_a_holder_that_was_cut_off_looks_before_it_writes(tmp_path: Path, cut_off: Lease) -> None:
    storage = LocalStorage(tmp_path)
    journal = Journal(storage, guard=cut_off.check)
    storage.write(RunPaths.lock, encode(elsewhere(), 7))
    journal.append({"event": "late"})
    with pytest.raises(SonotuneError, match="node7"):
        journal.commit()
    assert read_journal(storage)[0] == []


def test_a_holder_that_was_cut_off_goes_on_when_nobody_came(cut_off: Lease) -> None:
    before = cut_off._read()
    assert believes(cut_off)
    assert cut_off._read() != before  # a sign of life, at once
    cut_off.release()


def test_a_lease_that_is_let_go_while_it_is_watched_is_free_at_once(tmp_path: Path) -> None:
    class LetGo(LocalStorage):
        def read(self, path: str) -> bytes:
            data = super().read(path)
            if parse(data) == elsewhere():
                self.delete(path)
            return data

    storage = LetGo(tmp_path)
    storage.write(RunPaths.lock, encode(elsewhere()))
    with Lease(storage, **SHORT) as held:
        assert held.taken_over is None


def test_no_answer_of_a_storage_ends_the_beating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(LocalStorage(tmp_path), **SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(lease, "_read", lambda: (_ for _ in ()).throw(ValueError("an odd answer")))
        time.sleep(4 * SHORT["beat"])
    before, deadline = lease._read(), time.monotonic() + 30
    while lease._read() == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease.release()


def test_a_lock_of_the_kernel_is_never_taken_for_a_silent_lease(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with FileLock(tmp_path / RunPaths.lock):
        assert by_kernel(storage.read(RunPaths.lock))
        with pytest.raises(SonotuneError, match="its machine locks files and this one cannot"):
            Lease(storage, **SHORT)
    storage.write(RunPaths.lock, encode(elsewhere(), KERNEL))
    with pytest.raises(SonotuneError, match="delete that file if the driver is dead"):
        Lease(storage, **SHORT)


def test_a_lease_is_watched_also_where_the_kernel_would_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    storage.write(RunPaths.lock, encode(elsewhere()))
    with pytest.raises(NoFlock):
        FileLock(tmp_path / RunPaths.lock)
    left = parse(storage.read(RunPaths.lock))
    assert left is not None
    assert left.token == "other"
    monkeypatch.setattr(Lease.__init__, "__defaults__", (0.05, 4.0, 0.01))
    with hold(storage) as held:
        assert isinstance(held, Lease)


def test_what_a_dead_machine_has_locked_is_free_where_the_kernel_locks(tmp_path: Path) -> None:
    (tmp_path / RunPaths.lock).write_bytes(encode(elsewhere(), KERNEL))
    with FileLock(tmp_path / RunPaths.lock) as held:
        assert "node7" in str(held.taken_over)
    gone = Holder(**{**vars(Holder.me()), "started": "1"})
    (tmp_path / RunPaths.lock).write_bytes(encode(gone))
    FileLock(tmp_path / RunPaths.lock).release()


def test_a_release_leaves_the_lease_of_another_driver(tmp_path: Path, cut_off: Lease) -> None:
    """Who took over between two beats is not met by one."""
    storage = LocalStorage(tmp_path)
    storage.write(RunPaths.lock, encode(elsewhere(), 7))
    cut_off.release()
    assert parse(storage.read(RunPaths.lock)) == elsewhere()
