"""One driver per run. Two that write into one run would train folds twice and tear the journal.

On a disk the kernel holds the lock (`flock`) and lets it go when the driver dies, however it dies. Where
there is no such lock, above all on object stores, it is a lease: an object that its holder renews. A
lease that is renewed no more is taken over: at once when its holder was a process of this machine that
is gone, otherwise after watching it for a while, so that no two clocks need to agree.
"""

import fcntl
import json
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from engine.errors import SonotuneError
from engine.results import RunPaths
from engine.storage import Storage

BEAT = 10.0  # seconds between two signs of life of a lease
SILENT = 4  # beats without a sign after which a lease counts as abandoned
SETTLE = 1.0  # seconds between writing a lease and believing it: another driver may have written as well


@dataclass(frozen=True)
class Holder:
    """Who holds a run. `place` (boot and process namespace) tells whether its pid means anything here."""

    token: str
    pid: int
    started: str
    place: str
    host: str
    user: str
    since: str

    @classmethod
    def me(cls) -> "Holder":
        pid = os.getpid()
        now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        user = os.environ.get("USER") or str(os.getuid())
        return cls(uuid4().hex, pid, start_time(pid) or "", place(), platform.node(), user, now)

    def gone(self) -> bool:
        """Surely dead: a process of this very machine that no longer runs, or whose pid is another's now."""
        return self.place == place() and start_time(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host} since {self.since}"


def start_time(pid: int) -> str | None:
    """When the process began, in ticks since boot; None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def hold(storage: Storage) -> "Lock":
    """The lock on this run, held until `release`; an error that names the holder when there is one."""
    folder = storage.local()
    if folder is None:
        return Lease(storage)
    try:
        return FileLock(folder / RunPaths.lock)
    except NoFlock:
        return Lease(storage)


class NoFlock(Exception):
    """This file system has no locks."""


class Lock:
    """Held from its making on."""

    taken_over: str | None = None  # who held it before and did not let it go

    def check(self) -> None:
        """Raises when the lock was lost meanwhile; asked before each commit of the journal."""

    def release(self) -> None:
        """Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class FileLock(Lock):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._acquire()
        before = parse(os.pread(self._file, 4096, 0))
        self.taken_over = str(before) if before else None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, encode(Holder.me()), 0)

    def _acquire(self) -> int:
        """The file may be deleted between opening and locking it; then the lock would guard nothing."""
        while True:
            file = self._open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(file, self.path):
                    return file
            except BlockingIOError:
                holder = parse(os.pread(file, 4096, 0))
                os.close(file)
                raise _refused(holder, str(self.path), "a dead driver's lock opens by itself") from None
            except OSError as error:
                os.close(file)
                raise NoFlock from error
            os.close(file)

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SonotuneError(
                f"cannot write the lock {self.path}: {error.strerror}; give the rights or make room"
            ) from error

    def release(self) -> None:
        """The file goes first: after the lock has, it may be another driver's."""
        if self._file < 0:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1


class Lease(Lock):
    def __init__(
        self, storage: Storage, beat: float = BEAT, silent: float = SILENT, settle: float = SETTLE
    ) -> None:
        self.storage = storage
        self._me = Holder.me()
        self._lost: str | None = None
        self._over = threading.Event()
        self._wait_until_free(beat * silent)
        self._write(0)
        time.sleep(settle)
        self._confirm()
        self._beating = threading.Thread(target=self._beat, args=(beat,), name="lease", daemon=True)
        self._beating.start()

    def check(self) -> None:
        if self._lost:
            raise SonotuneError(
                f"this driver lost the lock of {self.storage.location}: {self._lost}; it stops here so that "
                "no two drivers write: resume when no other driver runs"
            )

    def release(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._beating.join()
        if self._lost is None:
            self.storage.delete(RunPaths.lock)

    def _read(self) -> bytes | None:
        try:
            return self.storage.read(RunPaths.lock)
        except FileNotFoundError:
            return None

    def _write(self, beats: int) -> None:
        self.storage.write(RunPaths.lock, encode(self._me, beats))

    def _wait_until_free(self, silence: float) -> None:
        """Watches whether the lease changes instead of reading its time: clocks differ and jump."""
        seen = self._read()
        holder = parse(seen or b"")
        if seen is None or (holder and holder.gone()):
            self.taken_over = str(holder) if holder else None
            return
        if self._changes(seen, silence):
            raise _refused(
                parse(self._read() or b"") or holder,
                f"{self.storage.location}/{RunPaths.lock}",
                f"a dead driver's lease is free after {silence:g} seconds",
            )
        self.taken_over = str(holder) if holder else "a damaged lease"

    def _changes(self, seen: bytes, silence: float) -> bool:
        end = time.monotonic() + silence
        while time.monotonic() < end:
            time.sleep(min(1.0, silence / 10))
            now = self._read()
            if now is None:
                return False
            if now != seen:
                return True
        return False

    def _confirm(self) -> None:
        """Of two drivers that wrote at the same time, only the later one finds its own lease."""
        now = parse(self._read() or b"")
        if now is None or now.token != self._me.token:
            raise _refused(now, f"{self.storage.location}/{RunPaths.lock}", "both started at the same time")

    def _beat(self, beat: float) -> None:
        """A storage that does not answer is no reason to stop; somebody else's lease is."""
        beats = 0
        while not self._over.wait(beat) and self._lost is None:
            beats += 1
            try:
                self._renew(beats)
            except (OSError, SonotuneError):
                continue

    def _renew(self, beats: int) -> None:
        found = self._read()
        now = parse(found or b"")
        if found is None:
            self._lost = "its lease was deleted"
        elif now is None or now.token != self._me.token:
            self._lost = f"it is held by {now or 'another driver'}"
        elif not self._over.is_set():
            self._write(beats)


def encode(holder: Holder, beats: int = 0) -> bytes:
    return (json.dumps(asdict(holder) | {"beats": beats}, indent=1) + "\n").encode()


def parse(data: bytes) -> Holder | None:
    """None for an empty or damaged file, which says nothing about who holds it."""
    try:
        record = json.loads(data)
        record.pop("beats", None)
        return Holder(**record)
    except (ValueError, TypeError, AttributeError):
        return None


def _refused(holder: Holder | None, lock: str, note: str) -> SonotuneError:
    who = holder or "another driver"
    stop = f"stop it (`kill {holder.pid}` on {holder.host})" if holder else "stop it"
    return SonotuneError(
        f"the run is held by {who}, and only one driver may write to it; wait until it ends or {stop} "
        f"({note}; the lock is {lock})"
    )


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
