"""How long the driver thinks: every call of sampler, race, conductor and journal, timed, in a large study.

    python benchmarks/deciding.py [--configs 10000] [--rule reserve] [--epochs 30]
    python benchmarks/deciding.py --rule none --epochs 5

Scores are made up, one worker reports, and the journal lies in memory: what is timed is thinking, not a disk.
Calls during which beliefs were learned anew are counted apart, and so is the one that decides the study and
drops whatever is left of it.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.restart import curve
from benchmarks.scale import FOLDS, conductor_in, study_of
from engine.conductor import Conductor
from engine.race.protocol import Freeze
from engine.task import Task

BOUND = 1e-3  # seconds that a call should take
MANY = 100  # dropped in one call: the study was decided
MEMORY = "/dev/shm"


@dataclass
class Clock:
    """Processor time of each call, whether beliefs were learned in it, and how many it dropped."""

    conductor: Conductor
    spent: list[float] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def __call__(self, work: Callable[..., Any], *args: Any) -> Any:
        fits, drops, began = self._fits(), len(self.conductor.race.reasons), time.process_time()
        answer = work(*args)
        self.spent.append(time.process_time() - began)
        self.learned.append(self._fits() > fits)
        self.dropped.append(len(self.conductor.race.reasons) - drops)
        return answer

    def _fits(self) -> int:
        return sum(rule.forecast.fits for rule in self.conductor.race.rules.values())


def play(conductor: Conductor, clock: Clock) -> int:
    """One worker's study, from its first fold to its last; how often it took one up."""
    curves: dict[Task, np.ndarray] = {}
    reached: dict[Task, int] = {}
    stretches = 0
    while (task := clock(conductor.next)) is not None:
        configuration = conductor.configuration_of(task)
        if task not in curves:
            curves[task] = curve(task, configuration, configuration.epochs)
        train(conductor, clock, task, curves[task], reached)
        if reached[task] == len(curves[task]):
            del curves[task]
        stretches += 1
    return stretches


def train(
    conductor: Conductor, clock: Clock, task: Task, scores: np.ndarray, reached: dict[Task, int]
) -> None:
    for epoch in range(reached.get(task, 0) + 1, len(scores) + 1):
        reached[task], value = epoch, float(scores[epoch - 1])
        halted = clock(conductor.reported, task, epoch, value, [value])
        if task in halted:
            status = "frozen" if isinstance(halted[task], Freeze) else "stopped"
            return clock(conductor.ended, task, status)
    clock(conductor.ended, task, "complete", float(scores[-1]), [float(scores[-1])])


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def show(clock: Clock, wall: float) -> None:
    spent, learned = np.array(clock.spent), np.array(clock.learned)
    print(f"in all             {spent.sum():10.1f} s of processor time, {wall:.1f} s by the clock")
    print(f"calls              {len(spent):10,d}, {1000 * spent.mean():.3f} ms on average, "
          f"99th percentile {1000 * np.quantile(spent, 0.99):.2f} ms")  # fmt: skip
    decided = np.array(clock.dropped) > MANY
    parts = {"learned": learned, "ended the study": ~learned & decided, "others": ~learned & ~decided}
    for name, which in parts.items():
        slow, most = int((spent[which] > BOUND).sum()), 1000 * spent[which].max(initial=0)
        print(f"  {name:16s} {which.sum():10,d}, {slow:,d} above 1 ms, the longest {most:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--configs", type=int, default=10_000)
    parser.add_argument("--rule", default="reserve")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    recipe = {"lr": {"loguniform": [1e-5, 1e-1]}, "epochs": options.epochs}
    study = study_of(options.configs, {}, train=recipe, race={"rule": options.rule})
    print(f"{options.configs:,d} configurations x {FOLDS} folds x {options.epochs} epochs, {options.rule}")
    with tempfile.TemporaryDirectory(dir=MEMORY if Path(MEMORY).is_dir() else None) as folder:
        conductor = conductor_in(folder, study)
        clock = Clock(conductor)
        gc.collect()
        before, began = resident(), time.monotonic()
        stretches = play(conductor, clock)
        grown = (resident() - before) / (options.configs * FOLDS)
        show(clock, time.monotonic() - began)
        print(f"stretches of folds {stretches:10,d}, {grown / 1024:.2f} KiB of memory for each fold")
        conductor.close()


if __name__ == "__main__":
    main()
