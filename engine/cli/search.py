"""`sonotune search` and `sonotune resume`."""

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from engine.cli import STOPPED
from engine.cli.options import Address, Profile, Set, Space
from engine.errors import SonotuneError, without_secrets
from engine.spec.load import load, refuse_empty
from engine.spec.overrides import parse_override

if TYPE_CHECKING:
    from engine.driver.launch import Outcome


def search(
    space: Space,
    run: Annotated[str | None, typer.Option(help="Run folder or URI; runs/<study> by default.")] = None,
    set_: Set = None,
    profile: Profile = None,
    address: Address = None,
    reuse: Annotated[
        list[str] | None, typer.Option(help="A run whose finished folds count as trained; repeatable.")
    ] = None,
    warm_from: Annotated[
        list[str] | None, typer.Option(help="A run whose configurations the sampler learns from; repeatable.")
    ] = None,
) -> None:
    """Search a space under cross-validation, then report."""
    study = load(space, profile, set_ or ())
    refuse_empty(study)
    location = run or f"runs/{study.name}"
    from engine.driver import launch

    console = Console()
    outcome = launch.search(study, location, console, address, reuse or (), warm_from or ())
    _close(location, console, outcome)


def resume(
    run: Annotated[str, typer.Argument(help="Folder or URI of the run to go on with.")],
    extend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="configs=40, budget.hours=8 or resources.workers=4; repeatable."
        ),
    ] = None,
    address: Address = None,
) -> None:
    """Go on with a run that was stopped, killed or finished; nothing is trained twice."""
    from engine.driver import launch

    console = Console()
    outcome = launch.resume(run, console, address, dict(map(_change, extend or [])))
    _close(run, console, outcome)


def _change(extend: str) -> tuple[str, Any]:
    """`configs` and `budget…` are short for what they are in the study."""
    path, value = parse_override(extend, "--extend", "configs=40")
    return (f"search.{path}" if path.split(".")[0] in ("configs", "budget") else path), value


def _close(location: str, console: Console, outcome: "Outcome") -> None:
    """The report is written also of what there is when a search was stopped."""
    from reports import command

    if outcome.interrupted:
        place = shlex.quote(without_secrets(location))
        console.print(
            f"stopped; nothing is lost. Go on with: sonotune resume {place}", markup=False, soft_wrap=True
        )
        raise typer.Exit(STOPPED)
    console.print(f"{outcome.reason}.", markup=False, highlight=False)
    page = command.page([location], None, None, console)
    if outcome.failure:
        raise SonotuneError(outcome.failure)
    console.print(f"report: {page}", markup=False, soft_wrap=True, highlight=False)
