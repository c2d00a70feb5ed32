"""`sonotune simulate`: what each racing rule would have made of learning curves that are on record."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table as Sheet

from engine.errors import SonotuneError, without_secrets
from reports.whole import print_whole

PICTURES = (".png", ".svg", ".pdf")
COLUMNS = ("spent", "wall", "regret", "test_regret", "best_lost", "wrong", "complete")


def simulate(
    tables: Annotated[list[str], typer.Argument(help="Parquet tables of learning curves, or run folders.")],
    rule: Annotated[list[str] | None, typer.Option(help="Rules and peers to replay; all without it.")] = None,
    slots: Annotated[str, typer.Option(help="Numbers of workers, such as 1,4,16.")] = "1,4,16",
    repeats: Annotated[int, typer.Option(min=1, help="Random orders per point.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the orders.")] = 0,
    score: Annotated[list[str] | None, typer.Option(help="Score columns of a table; averaged.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the race: price=0.01.")
    ] = None,
    learns: Annotated[bool, typer.Option(help="As with a sampler that learns, such as tpe.")] = False,
    overhead: Annotated[float, typer.Option(min=0, help="Epochs that each start of a fold costs.")] = 0.05,
    figure: Annotated[Path | None, typer.Option(help="Where to draw spent against regret.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Replay recorded learning curves through the racing rules, in simulated time."""
    from engine.data.files import writing
    from engine.race.simulate import simulate as replay

    if figure is not None and figure.suffix.lower() not in PICTURES:
        raise SonotuneError(f"--figure {figure} must end in one of {', '.join(PICTURES)}")
    rows: list[dict[str, Any]] = []
    for location in tables:
        table, place = _load(location, score), without_secrets(location)
        _check_rivals(table, place)
        for name, make in _makers(rule, set_ or [], learns):
            for workers in _numbers(slots):
                outcomes = replay(table, make, repeats, workers, seed, overhead)
                rows.append({"table": place, "left_out": table.left_out, "rule": name, "slots": workers}
                            | _summary(outcomes))  # fmt: skip
    typer.echo(json.dumps(plain(rows), indent=1)) if as_json else _print(rows)
    if figure is not None:
        with writing(figure):
            figure.parent.mkdir(parents=True, exist_ok=True)
            draw(rows, figure)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON knows no NaN."""
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


def _load(location: str, score: list[str] | None) -> Any:
    from engine.race.table import SCORES, load_run, load_table

    if os.path.isdir(location) or _is_run(location):
        if score:
            raise SonotuneError(f"--score names columns of a table; {location} is a run, which has its score")
        return load_run(location)
    return load_table(location, tuple(score) if score else SCORES)


def _check_rivals(table: Any, place: str) -> None:
    """One alone is picked by every rule, which would look like a rule without faults."""
    if len(table.scores) < 2:
        raise SonotuneError(
            f"{place} holds 1 complete configuration ({table.left_out} left out), which every rule would "
            "pick; give a run that was searched with race.rule=none or race.audit=1"
        )


def _is_run(location: str) -> bool:
    """Of an address, which may be that of a table as well."""
    from engine.results import RunPaths
    from engine.storage import open_storage

    return "://" in location and bool(open_storage(location).list(RunPaths.results))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise SonotuneError(f"--slots must be numbers of workers such as 1,4,16, got {text!r}")
    return numbers


def _makers(
    names: list[str] | None, changes: list[str], learns: bool
) -> list[tuple[str, Callable[..., Any]]]:
    """How each rule's races are made: (folds, configurations, seed) -> Race."""
    from engine.race.peers import PEERS
    from engine.race.race import Race
    from engine.race.rules import RULES

    known: dict[str, Callable[..., Any]] = {**RULES, **PEERS}
    unknown = sorted(set(names or []) - set(known))
    if unknown:
        raise SonotuneError(f"rules are {', '.join(known)}; got {', '.join(unknown)}")
    settings = _settings(changes)

    def maker(name: str) -> Callable[..., Any]:
        return lambda folds, configs, seed: Race(
            settings, folds, configs, seed=seed, learns=learns, make=known[name]
        )

    return [(name, maker(name)) for name in names or known]


def _settings(changes: list[str]) -> Any:
    from pydantic import ValidationError

    from engine.errors import many
    from engine.spec import race as spec
    from engine.spec.problems import problems_of

    pairs = dict(change.partition("=")[::2] for change in changes)
    try:
        return spec.Race.model_validate(pairs)
    except ValidationError as error:
        raise many("--set", problems_of(error, spec.Race)) from error


def _summary(outcomes: list[Any]) -> dict[str, Any]:
    records = [asdict(outcome) for outcome in outcomes]
    ranks = np.array([record["rank"] for record in records])
    mean = {name: float(np.mean([record[name] for record in records])) for name in COLUMNS}
    return mean | {
        "repeats": len(records),
        "rank_median": float(np.median(ranks)),
        "rank_90": float(np.quantile(ranks, 0.9)),
        "audited": sum(record["audited"] for record in records),
        "audit_wrong": sum(record["audit_wrong"] for record in records),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    names = ["rule", "slots", *COLUMNS, "rank_median", "rank_90"]
    for location in dict.fromkeys(row["table"] for row in rows):
        chosen = [row for row in rows if row["table"] == location]
        left = chosen[0]["left_out"]
        note = f" ({left} incomplete configurations left out)" if left else ""
        sheet = Sheet(title=f"{location}{note}")
        for name in names:
            sheet.add_column(name.replace("_", " "), no_wrap=True)
        for row in chosen:
            cells = [row[name] for name in names]
            sheet.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
        print_whole(sheet)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Regret of the pick against the share of training spent, one point per rule and number of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["rule"] for row in rows):
        points = [row for row in rows if row["rule"] == name]
        axes.plot([p["spent"] for p in points], [p["regret"] for p in points], "o", label=name, alpha=0.8)
    axes.set_xlabel("fold-epochs spent, share of training everything")
    axes.set_ylabel("mean regret of the pick, in fold deviations")
    axes.set_xscale("log")
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path)
