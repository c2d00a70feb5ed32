"""Does every model of both tasks learn? Each row, narrow, on 200 phantoms for one small budget.

    python benchmarks/learns.py [ROW ...] [--epochs 15] [--size 48] [--lr 3e-3] [--write PAGE]

A row is a multi-task model, or two stages such as `u2net_lite+resnet34`. It passes with a Dice of 0.5 and an
accuracy of 0.6 over three classes on 120 other phantoms, and when both figures moved since the first epoch.
Saying `normal` and drawing nothing has a third of each. Two stages are trained at 64 pixels at least, with
`masks: crossfit` over two inner folds, the first stage for `--epochs`, the second for twice as many. A first
stage is trained once for all rows that share it.

As many phantoms choose the epoch as test it. An accuracy over 40 is off by 0.07 (its standard error), more
than epochs differ by, so that the best of thirty would be the luckiest, and often an early one.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.cases import Pack
from engine.data.load import load
from engine.folds.manifest import Fold
from engine.models.registry import MODELS, find, small, traits
from engine.objective import objectives
from engine.results import FoldResult
from engine.spec.data import Data
from engine.spec.folds import Folds
from engine.spec.resources import Resources
from engine.spec.search import Search
from engine.spec.study import Configuration, FirstStage
from engine.storage import open_storage
from engine.task import Task
from engine.training.job import make_job
from engine.training.numerics import resolve
from engine.training.run_task import train_task

Row = dict[str, Any]
Done = tuple[FoldResult, list[Row]]

TRAIN, VALIDATION, TEST = 200, 120, 120
DICE, ACCURACY = 0.5, 0.6
MOVED = 0.02  # a figure that has moved less than this since the first epoch belongs to a dead head
DEPTH = {"qu_mtl": 4}  # its own 5 would leave one pixel at 48×48
SECOND = ("deepcardinal50", "resnet34", "resnet50", "alexnet")
PAIRS = ("u2net+deepcardinal50", *(f"u2net_lite+{name}" for name in SECOND))
PAIR_SIZE = 64


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
    """Every row that both segments and classifies as it comes, then the pairs of the two-stage paper."""
    return [n for n in MODELS if traits(small(n)).segments and traits(small(n)).classifies] + list(PAIRS)


def configuration(name: str, epochs: int, lr: float) -> Configuration:
    train = {"epochs": epochs, "batch": 8, "lr": lr, "schedule": "cosine", "warmup": 1}
    common = {"train": train, "augment": {"preset": "none", "flip_horizontal": {"p": 0.5}}}
    masks, classes = {"segmentation": "dice_ce"}, {"classification": "cross_entropy"}
    if "+" not in name:
        loss = {"lambda": 0.5} | masks | classes
        return Configuration.model_validate({"model": network(name), "loss": loss} | common)
    first, second = (network(part) | common for part in name.split("+"))
    second |= {"train": train | {"epochs": 2 * epochs}}
    stages = {"segment": first | {"loss": masks}, "classify": second | {"loss": classes}, "inner_folds": 2}
    return Configuration.model_validate({"model": {"two_stage": stages}})


def network(name: str) -> dict[str, object]:
    return {"name": name, **find(name).small} | ({"depth": DEPTH[name]} if name in DEPTH else {})


def learn(name: str, epochs: int, size: int, lr: float, place: Path, known: dict[str, Done]) -> Learned:
    """`known` are the first stages that lie at the place already."""
    side = max(size, PAIR_SIZE) if "+" in name else size
    pack = load(Data(count=TRAIN + VALIDATION + TEST, size=side), Path(tempfile.gettempdir()) / "learns")
    spec = configuration(name, epochs, lr)
    began = time.perf_counter()
    done = []
    if (first := spec.first_stage) is not None:
        if first.key not in known:
            known[first.key] = trained(first, first.key, pack, place)
        done.append(known[first.key])
    done.append(trained(spec, spec.config_id, pack, place))
    return _learned(name, done, time.perf_counter() - began)


def trained(spec: Configuration | FirstStage, key: str, pack: Pack, place: Path) -> Done:
    end, numerics, goals = TRAIN + VALIDATION, resolve(Resources()), objectives(Search())
    fold = Fold("r0-f0", pack.cases[:TRAIN], pack.cases[TRAIN:end], pack.cases[end:], 0, 0)
    job = make_job(Task(key, fold.name), spec, fold, pack, Folds(), 0, numerics, goals, "best")
    run, seen = train_task(job, pack, open_storage(place)), []
    while True:
        try:
            seen.append(next(run))
        except StopIteration as stop:
            return stop.value, seen


def _learned(name: str, done: list[Done], seconds: float) -> Learned:
    """Of two stages the masks' epochs are those of the segmenter of the whole training part, the last one."""
    masks = [row for row in done[0][1] if row.get("network") == done[0][1][-1].get("network")]
    last = done[-1][0]
    return Learned(
        name,
        last.parameters,
        last.test["dice"],
        last.test["accuracy"],
        rose(masks, "dice"),
        rose(done[-1][1], "accuracy"),
        seconds,
    )


def rose(seen: list[Row], metric: str) -> float:
    return max(row[f"validation_{metric}"] for row in seen) - seen[0][f"validation_{metric}"]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("row", nargs="*", help="rows to train; all by default")
    asked.add_argument("--epochs", type=int, default=15)
    asked.add_argument("--size", type=int, default=48)
    asked.add_argument("--lr", type=float, default=3e-3)
    asked.add_argument("--write", type=Path, help="a page to write the table to")
    given = asked.parse_args()
    print(HEAD)
    done: list[Learned] = []
    known: dict[str, Done] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in given.row or rows():
            done.append(learn(name, given.epochs, given.size, given.lr, Path(place), known))
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
