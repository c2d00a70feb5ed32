"""`sonotune`: one command per file. Torch, Ray and MONAI are imported by the command that needs them."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import SonotuneError

USER_ERROR = 2
STOPPED = 130


def main() -> None:
    """Mistakes a user can mend are one message and exit code 2, never a traceback."""
    with _leaving_at_ctrl_c():
        from engine.cli.app import app

    try:
        app()
    except SonotuneError as error:
        from rich.console import Console

        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(USER_ERROR)


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
