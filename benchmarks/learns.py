"""Does every multi-task model learn? Each row, narrow, on 200 phantoms for one small budget.

    python benchmarks/learns.py [ROW ...] [--epochs 30] [--size 48] [--lr 1e-3] [--write PAGE]

A row passes with a Dice of 0.5 and an accuracy of 0.6 over three classes on 120 other phantoms, and when both
figures moved since the first epoch. Saying `normal` and drawing nothing has a third of each.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.data.load import load
from engine.folds.manifest import Fold
from engine.models.registry import MODELS, find, small, traits
from engine.objective import objectives
from engine.results import FoldResult
from engine.spec.data import Data
from engine.spec.resources import Resources
from engine.spec.search import Search
from engine.spec.study import Configuration
from engine.storage import open_storage
from engine.task import Task
from engine.training.fold import train_fold
from engine.training.job import Job
from engine.training.numerics import resolve

TRAIN, VALIDATION, TEST = 200, 40, 120
DICE, ACCURACY = 0.5, 0.6
MOVED = 0.02  # a figure that has moved less than this since the first epoch belongs to a dead head
DEPTH = {"qu_mtl": 4}  # its own 5 would leave one pixel at 48×48


@dataclass(frozen=True)
class Learned:
    name: str
    parameters: int
    dice: float
    accuracy: float
    dice_rose: float  # best validation figure less that of the first epoch
    accuracy_rose: float
    seconds: float

    @property
    def passes(self) -> bool:
        moved = self.dice_rose >= MOVED and self.accuracy_rose >= MOVED
        return self.dice >= DICE and self.accuracy >= ACCURACY and moved

    def row(self) -> str:
        return (
            f"| `{self.name}` | {self.parameters:,} | {self.dice:.3f} | {self.accuracy:.3f} | "
            f"{self.dice_rose:+.3f} | {self.accuracy_rose:+.3f} | {self.seconds:.0f} | "
            f"{'yes' if self.passes else '**no**'} |"
        )


HEAD = (
    "| row | parameters | test Dice | test accuracy | Dice rose by | accuracy rose by | s | learns |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
)


def rows() -> list[str]:
    """Every row that both segments and classifies as it comes."""
    return [name for name in MODELS if traits(small(name)).segments and traits(small(name)).classifies]


def configuration(name: str, epochs: int, lr: float) -> Configuration:
    model = {"name": name, **find(name).small} | ({"depth": DEPTH[name]} if name in DEPTH else {})
    return Configuration.model_validate(
        {
            "model": model,
            "loss": {"lambda": 0.5, "segmentation": "dice_ce", "classification": "cross_entropy"},
            "train": {"epochs": epochs, "batch": 8, "lr": lr, "schedule": "cosine", "warmup": 1},
            "augment": {"preset": "none", "flip_horizontal": {"p": 0.5}},
        }
    )


def learn(name: str, epochs: int, size: int, lr: float) -> Learned:
    pack = load(Data(count=TRAIN + VALIDATION + TEST, size=size), Path(tempfile.gettempdir()) / "learns")
    end = TRAIN + VALIDATION
    fold = Fold("r0-f0", pack.cases[:TRAIN], pack.cases[TRAIN:end], pack.cases[end:], 0, 0)
    spec = configuration(name, epochs, lr)
    task = Task(spec.config_id, fold.name)
    numerics = resolve(Resources())
    job = Job(task, spec.record(), fold, pack.fingerprint, 0, numerics, objectives(Search()))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        seen, result = [], None
        run = train_fold(job, pack, open_storage(place))
        while result is None:
            try:
                seen.append(next(run))
            except StopIteration as stop:
                result = stop.value
    return _learned(name, result, seen, time.perf_counter() - began)


def _learned(name: str, result: FoldResult, seen: list[dict], seconds: float) -> Learned:
    def rose(metric: str) -> float:
        return max(row[f"validation_{metric}"] for row in seen) - seen[0][f"validation_{metric}"]

    test = result.test
    return Learned(
        name, result.parameters, test["dice"], test["accuracy"], rose("dice"), rose("accuracy"), seconds
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("row", nargs="*", help="rows to train; all multi-task rows by default")
    asked.add_argument("--epochs", type=int, default=30)
    asked.add_argument("--size", type=int, default=48)
    asked.add_argument("--lr", type=float, default=1e-3)
    asked.add_argument("--write", type=Path, help="a page to write the table to")
    given = asked.parse_args()
    print(HEAD)
    done = []
    for name in given.row or rows():
        done.append(learn(name, given.epochs, given.size, given.lr))
        print(done[-1].row(), flush=True)
    failed = [one.name for one in done if not one.passes]
    print(
        f"{len(done) - len(failed)} of {len(done)} learn" + (f"; not: {', '.join(failed)}" if failed else "")
    )
    if given.write:
        write(given.write, done)


def write(path: Path, done: list[Learned]) -> None:
    path.write_text("\n".join([HEAD, *(one.row() for one in done)]) + "\n")


if __name__ == "__main__":
    main()
