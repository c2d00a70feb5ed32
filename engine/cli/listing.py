"""`sonotune models`, `spaces` and `schema`: what there is to choose from."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engine.errors import SonotuneError
from engine.spec import text
from engine.spec.schema import study_schema

SPACES = Path(__file__).parents[2] / "searchspaces"

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def models(as_json: Json = False) -> None:
    """List every model that a space can name."""
    from engine.models.registry import MODELS

    shown = ("name", "system", "about", "defaults")
    rows: list[dict[str, Any]] = [{name: getattr(row, name) for name in shown} for row in MODELS.values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("name", "system", "about", box=None, pad_edge=False)
    for row in rows:
        table.add_row(f"[bold]{row['name']}[/]", row["system"], row["about"])
    Console().print(table)


def spaces() -> None:
    """List the search spaces that come with sonotune."""
    table = Table("space", "study", "profiles", box=None, pad_edge=False)
    for path in sorted(SPACES.glob("*.yaml")):
        document = text.read_mapping(path)
        table.add_row(
            os.path.relpath(path), str(document.get("study")), ", ".join(document.get("profiles") or {})
        )
    if not table.row_count:
        raise SonotuneError(f"there are no search spaces in {SPACES}; they come with the source checkout")
    Console().print(table)


def schema() -> None:
    """Print the JSON Schema of a search space, for editors and programs."""
    typer.echo(json.dumps(study_schema(), indent=1))
