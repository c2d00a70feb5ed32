"""The commands, put together."""

import typer

from engine import __version__
from engine.cli.check import check
from engine.cli.data import app as data
from engine.cli.doctor import doctor
from engine.cli.listing import models, schema, spaces
from engine.cli.predict import export, predict
from engine.cli.report import report
from engine.cli.search import resume, search
from engine.cli.simulate import simulate
from engine.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fold-aware hyperparameter search and cross-validation of breast-ultrasound networks on Ray.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sonotune {__version__}")
        raise typer.Exit()


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


COMMANDS = (
    search, resume, report, check, doctor, train, predict, export, simulate, models, spaces, schema,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
app.add_typer(data, name="data")
