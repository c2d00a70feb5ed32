"""A session's own folder in the temporary directory: Ray's sockets and logs, Tune's notes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.lock.holder import Holder, encode, parse

PREFIX = "sonotune-"
OWNER = "owner"


@contextmanager
def scratch() -> Iterator[Path]:
    """Gone afterwards. That of a driver that was killed goes when the next one starts, or ends: its Ray may
    live on for a while, and write."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        (folder / OWNER).write_bytes(encode(Holder.me()))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        sweep()


def sweep() -> None:
    """Only what a process of this very machine has left that surely runs no more."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        try:
            holder = parse(owner.read_bytes())
        except OSError:
            continue
        if holder is not None and holder.gone():
            with suppress(OSError):  # somebody else's, or another driver is at it too
                _remove(owner.parent)


def _remove(folder: Path) -> None:
    """Whose it was is forgotten last: where something writes on, the next sweep finds it again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != OWNER:
            path.unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [OWNER]:
        shutil.rmtree(folder, ignore_errors=True)
