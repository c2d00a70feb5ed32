"""`sonotune`: one command per file. Torch, Ray and MONAI are imported by the command that needs them."""

import sys

from engine.errors import SonotuneError

USER_ERROR = 2


def main() -> None:
    """Mistakes a user can mend are one message and exit code 2, never a traceback."""
    from engine.cli.app import app

    try:
        app()
    except SonotuneError as error:
        from rich.console import Console

        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(USER_ERROR)
