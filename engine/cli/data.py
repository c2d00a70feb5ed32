"""`sonotune data`: pack a data set, audit it, and make its folds."""

from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.bar import bar
from engine.cli.audit import audit
from engine.cli.dataset import data_of
from engine.cli.options import Profile, Set, Space
from engine.errors import SonotuneError
from engine.spec.load import load as load_study

app = typer.Typer(no_args_is_help=True, help="Pack, audit and split data sets.")
app.command()(audit)


@app.command()
def pack(
    space: Annotated[Path | None, typer.Argument(help="A search space whose data section is packed.")] = None,
    source: Annotated[str | None, typer.Option(help="Layout, in place of a space.")] = None,
    root: Annotated[str | None, typer.Option(help="The data set's folder, in place of a space.")] = None,
    set_: Set = None,
    profile: Profile = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave broken cases out and list them.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Where packs are kept.")] = None,
) -> None:
    """Decode and resize a data set once, so that every later start is quick."""
    from engine.data.load import default_cache, load

    if (space is None) == (source is None) or (space is not None and root is not None):
        raise SonotuneError("give a search space, or --source and --root, but not both")
    if profile and space is None:
        raise SonotuneError(f"--profile {profile} is one of a search space; give the space")
    data = load_study(space, profile, set_ or ()).fixed.data if space else data_of(source, root, set_)
    data = data.model_copy(update={"skip_broken": data.skip_broken or skip_broken})
    console = Console(soft_wrap=True, highlight=False)
    start = perf_counter()
    with bar(console) as progress:
        packed = load(data, cache or default_cache(), progress)
    seconds = perf_counter() - start
    for note in packed.notes:
        console.print(f"note: {note}", markup=False)
    counts = Counter(packed.classes[label] for label in packed.labels)
    told = ", ".join(f"{counts[name]} {name}" for name in packed.classes)
    console.print(f"{len(packed)} cases at {data.size}×{data.size}: {told}")
    console.print(f"fingerprint {packed.fingerprint}, {seconds:.2f} s")


@app.command()
def folds(
    space: Space,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("folds.json"),
    set_: Set = None,
    profile: Profile = None,
) -> None:
    """Make the folds of a search space and prove that nothing leaks between their parts."""
    from engine.data.files import on_a_disk
    from engine.data.load import default_cache, load
    from engine.folds.make import make_folds
    from engine.storage import LocalStorage

    on_a_disk(out)
    fixed = load_study(space, profile, set_ or ()).fixed
    console = Console(soft_wrap=True, highlight=False)
    with bar(console) as progress:
        packed = load(fixed.data, default_cache(), progress)
    manifest = make_folds(packed, fixed.folds)
    for note in dict.fromkeys((*packed.notes, *manifest.notes, *manifest.warnings)):
        console.print(f"note: {note}", markup=False)
    table = Table("fold", "train", "validation", "test")
    for fold in (*manifest.folds, *manifest.finals):
        table.add_row(fold.name, *(str(len(part)) for part in (fold.train, fold.validation, fold.test)))
    console.print(table)
    LocalStorage(out.absolute().parent).write(out.name, manifest.to_json().encode())
    console.print(str(out), markup=False)
