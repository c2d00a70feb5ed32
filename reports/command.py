"""What `sonotune report` does, apart from reading its arguments."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape

from engine.errors import SonotuneError
from engine.spec.select import Select
from engine.storage import below, open_storage
from reports import published
from reports.aggregate import figures
from reports.build import select_of
from reports.console import grid
from reports.load import load
from reports.run import Run
from reports.together import together
from reports.watch import watch
from reports.whole import print_whole
from reports.write import write_run

SIDE = "side-by-side"


def page(locations: Sequence[str], baseline: str | None, out: str | None, console: Console) -> str:
    """The report of one run lies in it, that of several under the first, or either where `out` says."""
    run = gathered(locations, out)
    return write_run(run, console, _select(run, baseline))


def gathered(locations: Sequence[str], out: str | None) -> Run:
    runs = [load(location) for location in locations]
    if len(runs) == 1:
        return replace(runs[0], out=open_storage(out)) if out else runs[0]
    if len({run.storage.location for run in runs}) < len(runs):
        raise SonotuneError("a run cannot be compared with itself; give each run folder once")
    return together(runs, out or below(locations[0], f"report/{SIDE}"))


def _select(run: Run, baseline: str | None) -> Select:
    select = select_of(run)
    return select.model_copy(update={"baseline": run.find(baseline).id}) if baseline else select


def watched(locations: Sequence[str], baseline: str | None, console: Console) -> None:
    if len(locations) != 1:
        raise SonotuneError(f"--watch follows one run, got {len(locations)}")
    select = _select(load(locations[0]), baseline) if baseline else None
    watch(locations[0], console, select)


def paper(locations: Sequence[str], tables: str | None, console: Console) -> None:
    """Published tables with our rows between theirs; without names those that fit the run."""
    run = gathered(locations, None)
    known = figures(run)
    wanted = [published.find(key.strip()) for key in tables.split(",")] if tables else None
    chosen = wanted if wanted is not None else published.relevant(run, known)
    if not chosen:
        raise SonotuneError(
            f"no published table has a model or the data of {run.location}; name one by --tables"
        )
    for table in chosen:
        shown = published.paper_table(table, published.frame(table, run, known), run)
        print_whole(grid(shown, rows=None), console)
        console.print(escape(shown.note) + "\n", highlight=False)
    console.print(escape(published.MEANING), style="dim", highlight=False)
