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
from reports.whole import print_whole

SPACES = Path(__file__).parents[2] / "searchspaces"

COUNTS = (("parameters", 1e6), ("multiply_adds", 1e9))  # and the unit that the table prints them in

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def models(
    as_json: Json = False,
    cost: Annotated[bool, typer.Option("--cost", help="Count parameters and multiply-adds.")] = False,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Image size for --cost.")] = 256,
) -> None:
    """List every model that a space can name."""
    from engine.models.registry import MODELS

    rows: list[dict[str, Any]] = [
        {"name": r.name, "system": r.system, "about": r.about, "defaults": dict(r.defaults)}
        for r in MODELS.values()
    ]
    if cost:
        rows = [row | _cost(row["name"], size) for row in rows]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    counted = ("M parameters", "G multiply-adds") if cost else ()
    table = Table("name", "system", *counted, "about", box=None, pad_edge=False)
    for row in rows:
        counts = [f"{row[name] / unit:.2f}" for name, unit in COUNTS if name in row]
        table.add_row(f"[bold]{row['name']}[/]", row["system"], *counts, row["about"])
    Console().print(table)


def _cost(name: str, size: int) -> dict[str, int]:
    """Of the default form, one grey image, three classes."""
    from engine.models.cost import cost_of
    from engine.spec.model import Model

    found = cost_of(Model(name=name), channels=1, classes=3, size=size)
    return {"parameters": found.parameters, "multiply_adds": found.multiply_adds, "flops": found.flops}


def spaces() -> None:
    """List the search spaces that come with sonotune."""
    table = Table(box=None, pad_edge=False)
    table.add_column("space", no_wrap=True)  # to be copied
    table.add_column("study", no_wrap=True)
    table.add_column("profiles", no_wrap=True)
    for path in sorted(SPACES.glob("*.yaml")):
        document = text.read_mapping(path)
        profiles = ", ".join(document.get("profiles") or {})
        table.add_row(os.path.relpath(path), str(document.get("study")), profiles)
    if not table.row_count:
        raise SonotuneError(f"there are no search spaces in {SPACES}; they come with the source checkout")
    print_whole(table)


def schema() -> None:
    """Print the JSON Schema of a search space, for editors and programs."""
    typer.echo(json.dumps(study_schema(), indent=1))
