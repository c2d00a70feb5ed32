"""A session's own folder in the temporary directory: Ray's sockets and logs, Tune's notes."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import SonotuneError
from engine.lock.holder import Holder, encode, parse

PREFIX = "sonotune-"
OWNER = "owner"
LONGEST = 107  # bytes that the path of a socket may have
BELOW = "/sonotune-12345678/session_2026-01-31_12-00-00_123456_1234567/sockets/plasma_store"  # Ray's longest
SHORT = Path("/tmp")
DYING = 5.0  # seconds that the processes of a killed driver are waited for at most


@contextmanager
def scratch() -> Iterator[Path]:
    """Gone afterwards. That of a driver that was killed goes when the next one starts, or ends."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home()))
    try:
        (folder / OWNER).write_bytes(encode(Holder.me()))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        sweep()


def home() -> Path:
    """A job's own temporary folder is often too deep for Ray's sockets: then they go where Ray's own go."""
    usual, most = Path(tempfile.gettempdir()), LONGEST - len(BELOW)
    if len(os.fsencode(usual)) <= most:
        return usual
    if not os.access(SHORT, os.W_OK):
        raise SonotuneError(
            f"TMPDIR: {usual} is too long, Ray's sockets leave room for {most} bytes, and {SHORT} cannot be "
            "written to; set TMPDIR to a shorter folder"
        )
    return SHORT


def sweep() -> None:
    """Only what a process of this very machine has left that surely runs no more."""
    for owner in home().glob(f"{PREFIX}*/{OWNER}"):
        try:
            holder = parse(owner.read_bytes())
        except OSError:
            continue
        if holder is not None and holder.gone():
            with suppress(OSError):  # somebody else's, or another driver is at it too
                _end_users(owner.parent)
                _remove(owner.parent)


def _end_users(folder: Path) -> None:
    """A killed driver's Ray may outlive it for minutes, works for nobody, and writes its folder anew."""
    until = time.monotonic() + DYING
    while (alive := users(folder)) and time.monotonic() < until:
        for pid in alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def users(folder: Path) -> list[int]:
    """Processes that were started with a path in this folder, or that hold a file of it open."""
    found = [int(each.name) for each in Path("/proc").glob("[0-9]*") if _uses(each, folder)]
    return [pid for pid in found if pid != os.getpid()]


def _uses(process: Path, folder: Path) -> bool:
    inside = f"{folder}{os.sep}"
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace")
        if inside in words or f"{folder}\0" in words:
            return True
        return any(os.readlink(each).startswith(inside) for each in (process / "fd").iterdir())
    except OSError:  # it has ended meanwhile, or is somebody else's
        return False


def _remove(folder: Path) -> None:
    """Whose it was is forgotten last: where something writes on, the next sweep finds it again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != OWNER:
            path.unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [OWNER]:
        shutil.rmtree(folder, ignore_errors=True)
