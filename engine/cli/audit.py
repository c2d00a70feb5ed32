"""`sonotune data audit`: what is wrong with a data set."""

from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from engine.bar import bar
from engine.cli.dataset import data_of
from engine.cli.options import Set, one_of
from engine.words import plural

if TYPE_CHECKING:
    from engine.data.audit import Audit
    from engine.data.curate import LeftOut, Rule


def audit(
    source: Annotated[str, typer.Option(help="Layout: busi, bus_uclm, udiat, bus_bra or manifest.")],
    root: Annotated[str, typer.Option(help="The data set's folder; for manifest the table.")],
    out: Annotated[Path, typer.Option(help="Folder for audit.parquet and audit.html.")],
    method: Annotated[
        Literal["aligned", "ssim"],
        typer.Option(
            **one_of("--method", "aligned", "ssim"),
            help="aligned registers likely pairs; ssim compares all pairs as they lie.",
        ),
    ] = "aligned",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Similarity from which two images are duplicates.")
    ] = None,
    write_groups: Annotated[
        bool, typer.Option("--write-groups", help="Write groups.csv for data.groups.")
    ] = False,
    curate: Annotated[
        Literal["drop-all", "keep-one"] | None,
        typer.Option(
            **one_of("--curate", "drop-all", "keep-one"), help="Write curated.csv and left_out.csv."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The cases that others kept; prints precision and recall of ours.")
    ] = None,
    set_: Set = None,
) -> None:
    """Look for duplicates, conflicting labels and broken files."""
    from engine.data.audit import audit as run
    from engine.data.duplicates import THRESHOLDS
    from engine.data.select import read_ids
    from engine.data.write_audit import write_curated, write_findings, write_groups_of

    console = Console(soft_wrap=True, highlight=False)
    start = perf_counter()
    limit = THRESHOLDS[method] if threshold is None else threshold
    kept = None if against is None else read_ids(against)
    with bar(console) as progress:
        found = run(data_of(source, root, set_), method, limit, progress)
        write_findings(found, out)
        groups = write_groups_of(found, out) if write_groups else None
        curated = write_curated(found, curate, out) if curate else None
    _print_findings(console, found)  # all files are there: who reads a pipe may have heard enough at any line
    if groups is not None:
        console.print(f"data.groups: {groups} lets folds.group_by keep duplicates together", markup=False)
    if curate and curated:
        _print_curated(console, curate, *curated, out)
    if against is not None and kept is not None:
        _compare(console, found, against, kept)
    console.print(f"{out / 'audit.html'}, {perf_counter() - start:.1f} s", markup=False)


def _print_findings(console: Console, found: "Audit") -> None:
    table = Table("finding", "lines", "first of them")
    first = {finding.rule: finding for finding in reversed(found.findings)}
    for rule, count in Counter(finding.rule for finding in found.findings).most_common():
        one = first[rule]
        other = f" and {one.other}" if one.other else ""
        table.add_row(rule, str(count), f"{one.file or one.case}{other}: {one.text}")
    console.print(table)
    sizes = Counter(len(members) for members in found.groups.values())
    told = ", ".join(f"{count} of {size}" for size, count in sorted(sizes.items())) or "none"
    console.print(
        f"{len(found.facts)} cases; {len(found.group_of)} in {plural(len(found.groups), 'group')} of "
        f"duplicates ({told}); {plural(len(found.conflicts), 'group')} with conflicting labels"
    )


def _print_curated(console: Console, rule: "Rule", kept: int, gone: list["LeftOut"], out: Path) -> None:
    from engine.data.curate import EXPLAINED

    console.print(f"--curate {rule}: {EXPLAINED[rule]}; groups of conflicting labels go whole")
    reasons = Counter(one.reason.split(" of ")[0] for one in gone)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    console.print(f"stay: {plural(kept, 'case')}; left out: {told or 'none'}", markup=False)
    console.print(f"to use it: data.keep: curated, data.ids: {out / 'curated.csv'}", markup=False)


def _compare(console: Console, found: "Audit", against: Path, kept: list[str]) -> None:
    from engine.data.curate import compare

    agreement = compare(found, kept)
    console.print(
        f"against {against}: {len(agreement.theirs)} left out there, "
        f"{plural(len(agreement.ours), 'duplicate')} here, {len(agreement.ours & agreement.theirs)} in "
        f"common; precision {agreement.precision:.3f}, recall {agreement.recall:.3f}",
        markup=False,
    )
    if agreement.unknown:
        first = min(agreement.unknown)
        told = f"it names {plural(len(agreement.unknown), 'case')} unknown here, such as {first!r}"
        console.print(told, style="yellow", markup=False)
    for title, cases in (
        ("here only", agreement.ours - agreement.theirs),
        ("there only", agreement.theirs - agreement.ours),
    ):
        console.print(f"{title}: {', '.join(sorted(cases)) or 'none'}", markup=False)
