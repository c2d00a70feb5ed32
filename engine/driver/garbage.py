"""Python's garbage collector while a study begins.

What is imported, dealt and replayed then stays to the study's end. To look through millions of such objects
for garbage, again and again as they become more, would take a tenth of the driver's time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Until `settle`, or the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """From now on only what is new is looked through."""
    gc.freeze()
    gc.enable()
