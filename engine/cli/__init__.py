"""`sonotune`: one command per file. Torch, Ray and MONAI are imported by the command that needs them."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from engine.errors import SonotuneError
from engine.persist import NO_ROOM

USER_ERROR = 2
STOPPED = 130
OUTPUT = 1


def main() -> None:
    """Mistakes a user can mend are one message and exit code 2, never a traceback."""
    with _leaving_at_ctrl_c():
        from engine.cli.app import app

    try:
        app()
    except SonotuneError as error:
        _tell(error)
    except OSError as error:
        if error.filename is not None or error.errno not in NO_ROOM:
            raise
        _print_into_nothing()
        _tell(f"what is printed finds no room: {error.strerror}; make some, or send the output elsewhere")


def _tell(error: object) -> NoReturn:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
    sys.exit(USER_ERROR)


def _print_into_nothing() -> None:
    """Python would try once more as it ends, and tell of that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), OUTPUT)


@contextmanager
def _leaving_at_ctrl_c() -> Iterator[None]:
    """A module that is just being loaded would swallow it, or show a traceback. Where it is ignored, as in a
    shell's background, it stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
