"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import SonotuneError
from engine.spec.problems import hint

Space = Annotated[
    Path, typer.Argument(help="A search space in YAML; `sonotune spaces` lists those that come along.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a leaf: --set loss.lambda=0.7; repeatable."),
]
Profile = Annotated[
    str | None, typer.Option(help="A named set of overrides that the space defines, such as smoke.")
]
Address = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster; without it Ray starts on this machine.")
]


def one_of(option: str, *names: str) -> dict[str, Any]:
    """A choice whose message is ours: the one of typer begins with words of pydantic."""

    def parse(given: str) -> str:
        if given not in names:
            raise SonotuneError(f"{option} must be {' or '.join(names)}, got {given!r}{hint(given, names)}")
        return given

    return {"parser": parse, "metavar": "|".join(names)}
