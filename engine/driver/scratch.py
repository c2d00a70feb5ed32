"""A session's own folder in the temporary directory: Ray's sockets and logs, Tune's notes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.lock.holder import Holder, encode, parse

PREFIX = "sonotune-"
OWNER = "owner"


@contextmanager
def scratch() -> Iterator[Path]:
    """Gone afterwards. That of a driver that was killed goes when the next one starts."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        (folder / OWNER).write_bytes(encode(Holder.me()))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Only what a process of this very machine has left that surely runs no more."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        try:
            holder = parse(owner.read_bytes())
        except OSError:
            continue
        if holder is not None and holder.gone():
            shutil.rmtree(owner.parent, ignore_errors=True)
