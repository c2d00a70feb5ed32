"""One driver per run. Two that write into one run would train folds twice and tear the journal.

On a disk the kernel holds the lock (`flock`) and lets it go when the driver dies, however it dies. Where
there is no such lock it is a lease.
"""

import fcntl
import os
from pathlib import Path

from engine.errors import SonotuneError
from engine.lock.holder import KERNEL, Holder, by_kernel, encode, parse, refused
from engine.lock.lease import Lease, Lock
from engine.persist import persist
from engine.results import RunPaths
from engine.storage import Storage, opened_in_place


def hold(storage: Storage) -> "Lock":
    """The lock on this run, held until `release`; an error that names the holder when there is one."""
    folder = storage.local()
    if folder is None:
        return Lease(storage)
    try:
        return FileLock(folder / RunPaths.lock)
    except NoFlock:
        return Lease(storage)


def held(storage: Storage) -> bool:
    """For whoever only looks: whether somebody holds the run, as far as can be told without trying it."""
    try:
        holder = parse(storage.read(RunPaths.lock))
    except FileNotFoundError:
        return False
    return holder is None or not holder.gone()


class NoFlock(Exception):
    """This file system has no locks."""


class FileLock(Lock):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._acquire()
        try:
            self.taken_over = self._sign()
        except BaseException:
            os.close(self._file)
            raise

    def _sign(self) -> str | None:
        """Gives back who held it before and did not let it go."""
        found = os.pread(self._file, 4096, 0)
        before = parse(found)
        if before and not by_kernel(found) and not before.gone():
            raise NoFlock  # a machine that has no flock here may hold it by a lease, which only time can tell
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, encode(Holder.me(), KERNEL), 0)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return str(before) if before else None

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
                raise refused(holder, str(self.path), "a dead driver's lock opens by itself") from None
            except OSError as error:
                os.close(file)
                raise NoFlock from error
            os.close(file)

    def _open(self) -> int:
        def opened() -> int:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return opened_in_place(self.path, os.O_RDWR)

        try:
            return persist(opened, f"write the lock {self.path}")
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def release(self) -> None:
        """The file goes first: after the lock has, it may be another driver's."""
        if self._file < 0:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1


def _unwritable(path: Path, error: OSError) -> SonotuneError:
    return SonotuneError(f"cannot write the lock {path}: {error.strerror}; give the rights or make room")


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
