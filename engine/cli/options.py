"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
