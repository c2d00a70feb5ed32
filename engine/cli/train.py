"""`sonotune train`: one configuration on one fold in this process, without Ray, to look at closely."""

from typing import Annotated

import typer
from rich.console import Console

from engine.cli.options import Profile, Set, Space
from engine.errors import without_secrets
from engine.spec.load import load


def train(
    space: Space,
    run: Annotated[str, typer.Option(help="Folder for what the fold leaves behind.")],
    fold: Annotated[str, typer.Option(help="Name of the fold.")] = "r0-f0",
    set_: Set = None,
    profile: Profile = None,
) -> None:
    """Train the space's first configuration on one fold; use --set to say which one that is."""
    study = load(space, profile, set_ or ())
    from engine.training.alone import train_alone

    console = Console()
    for row in train_alone(study, run, fold):
        console.print(
            f"epoch {row['epoch']:3d}  loss {row['train_total']:.4f}  score {row['score']:.4f}  "
            f"best {row['best']:.4f}  {row['seconds']:.1f} s",
            highlight=False,
        )
    console.print(f"results: {without_secrets(run)}/results", markup=False, soft_wrap=True)
