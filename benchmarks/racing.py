"""The frontier of every rule: regret of the pick against fold-epochs spent, over random orders.

    python benchmarks/racing.py benchmarks/tables/phantom.parquet other.parquet --out racing.csv
    python benchmarks/racing.py --made 0,1,2 --slots 1,16 --repeats 50 --out racing.csv
    python benchmarks/racing.py TABLE --configs 12 --out small.csv      # small studies: 12 of its rows each

Every rule runs through the same simulator, on the same orders, with the same price of a start. Points are
appended to the CSV as they are done, and points already in it are not computed again.
"""

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_tables import made
from engine.race.none import Setting, TrainAll
from engine.race.peers import PEERS
from engine.race.race import Race
from engine.race.rules import RULES
from engine.race.simulate import Outcome, simulate
from engine.race.table import Table, load_table
from engine.spec import race as spec

OVERHEAD = 0.05  # epochs that each start of a fold costs: a new one, a thawed one
SWEEPS: list[tuple[str, str, tuple[float, ...]]] = [
    ("reserve", "price", (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
    ("halving", "decided", (0.2, 0.5, 1.0, 2.0)),
    ("thaw", "delta", (0.1, 0.45)),
    ("paired", "delta", (0.01, 0.1)),
    ("asha", "eta", (2, 3, 4, 8)),
    ("asha-lockstep", "eta", (2, 3, 4, 8)),
    ("asha-pooled", "eta", (2, 4)),
    ("halving-folds", "eta", (2, 3, 4)),
    ("median", "min_epochs", (1, 3)),
    ("aggressive", "delta", (0.1,)),
    ("forgiving", "delta", (0.1,)),
    ("wilcoxon", "delta", (0.1, 0.3)),
    ("optuna-wilcoxon", "delta", (0.1,)),
    ("none", "delta", (0.1,)),
]
SLOW = ("optuna-wilcoxon", "none")  # decides as `wilcoxon` does; has no choice
KEYS = ("table", "rule", "knob", "value", "slots", "audit")
FIGURES = ("spent", "wall", "regret", "wrong", "best_lost", "complete", "test_regret")
FIELDS = (*KEYS, "repeats", *FIGURES, "regret_se", "audited", "audit_wrong", "seconds")


def maker(rule: str, settings: spec.Race) -> Callable[[tuple[str, ...], int, int], Race]:
    kind: Callable[[spec.Race, Setting], TrainAll] = {**RULES, **PEERS}[rule]
    return lambda folds, configs, seed: Race(settings, folds, configs, seed=seed, learns=False, make=kind)


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Means over studies, and the standard error of the mean regret."""
    names = ("spent", "wall", "regret", "wrong", "best_lost", "complete", "test_regret")
    row: dict[str, Any] = {
        name: round(float(np.mean([getattr(o, name) for o in outcomes])), 4) for name in names
    }
    regrets = [outcome.regret for outcome in outcomes]
    row["regret_se"] = round(float(np.std(regrets) / np.sqrt(len(regrets))), 4)
    row["audited"] = sum(outcome.audited for outcome in outcomes)
    row["audit_wrong"] = sum(outcome.audit_wrong for outcome in outcomes)
    return row


def studies(table: Table, make: Any, repeats: int, slots: int, args: argparse.Namespace) -> list[Outcome]:
    if not args.configs:
        return simulate(table, make, repeats, slots, args.seed, OVERHEAD)
    drawn = [(few(table, args.configs, args.seed + repeat), args.seed + repeat) for repeat in range(repeats)]
    return [simulate(some, make, 1, slots, seed, OVERHEAD)[0] for some, seed in drawn]


def few(table: Table, count: int, seed: int) -> Table:
    """So many of a table's configurations, as if nobody knew of the others."""
    rows = np.random.default_rng(seed).choice(len(table.scores), count, replace=False)
    return replace(table, scores=table.scores[rows], test=table.test[rows], seconds=table.seconds[rows])


def measure(table: Table, args: argparse.Namespace, done: set[tuple[str, ...]], out: Any) -> None:
    for slots in args.slots:
        for rule, knob, values in SWEEPS:
            if args.rules and rule not in args.rules:
                continue
            for value in values:
                name = Path(table.name).stem + (f", {args.configs} of it" if args.configs else "")
                key = (name, rule, knob, str(float(value)), str(slots), str(args.audit))
                if key not in done:
                    out.writerow(point(table, key, args))
                    args.handle.flush()


def point(table: Table, key: tuple[str, ...], args: argparse.Namespace) -> dict[str, Any]:
    name, rule, knob, value, slots, _ = key
    number: float = int(float(value)) if knob == "min_epochs" else float(value)
    settings = spec.Race.model_validate({"rule": "none", "audit": args.audit, knob: number})
    repeats = min(args.repeats, 10) if rule in SLOW else args.repeats
    begun = time.monotonic()
    outcomes = studies(table, maker(rule, settings), repeats, int(slots), args)
    row = dict(zip(KEYS, key, strict=True)) | summary(outcomes)
    row |= {"repeats": repeats, "seconds": round((time.monotonic() - begun) / repeats, 3)}
    print(f"{name:14} {rule:16} {knob}={value:6} slots={slots:3} spent {row['spent']:.3f} "
          f"regret {row['regret']:.3f} wrong {row['wrong']:.3f}", flush=True)  # fmt: skip
    return row


def finished(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open() as handle:
        return {tuple(row[name] for name in KEYS) for row in csv.DictReader(handle)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--made", default="", help="seeds of made-up tables")
    parser.add_argument(
        "--slots", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 16]
    )
    parser.add_argument("--rules", type=lambda text: text.split(","), default=[])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--configs", type=int, default=0)
    parser.add_argument("--audit", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("racing.csv"))
    args = parser.parse_args()
    tables = [load_table(path) for path in args.tables]
    tables += [made(int(seed)) for seed in args.made.split(",") if seed]
    done = finished(args.out)
    with args.out.open("a", newline="") as args.handle:
        out = csv.DictWriter(args.handle, FIELDS)
        if not done:
            out.writeheader()
        for table in tables:
            measure(table, args, done, out)


if __name__ == "__main__":
    main()
