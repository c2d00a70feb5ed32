"""How a search scales: workers on this machine's cores, slots on one driver, and where the driver saturates.

    python benchmarks/scale.py workers [--most 4]             real training, 1, 2, 4 workers
    python benchmarks/scale.py slots [--slots 64] [--seconds 10] [--rounds 24]      real Ray, sleeping folds
    python benchmarks/scale.py simulate [--tune-ms 5] [--put-ms 0]  64, 512 and 4,096 slots, simulated time

`simulate` runs the real conductor, race and journal and takes what they cost from the clock; what Ray Tune
costs per event is given, as `slots` has measured it.
"""

import argparse
import heapq
import json
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.sleeping import EPOCHS, sleeper, spans

os.environ.setdefault("RAY_worker_niceness", "0")
FOLDS = 5


def study_of(configs: int, resources: dict[str, Any], **sections: Any) -> Any:
    from engine.spec.load import study_of as load

    document = {
        "study": "scale",
        "data": {"source": "phantom", "count": 60, "size": 32},
        "folds": {"k": FOLDS},
        "train": {"lr": {"loguniform": [1e-5, 1e-1]}, "epochs": EPOCHS},
        "search": {"sampler": "random", "configs": configs},
        "race": {"rule": "none"},
        "resources": {"device": "cpu", "keep": "none"} | resources,
    }
    return load(document | sections, "scale")


# -- workers: do they fight for the cores? ---------------------------------------------------------------


def workers(options: argparse.Namespace) -> None:
    cores = os.cpu_count() or 1
    print(f"{cores} cores\n{'workers':>8s} {'threads each':>13s} {'images/s':>9s} {'per worker':>11s}")
    counts = [count for count in (1, 2, 4, 8, 16) if count <= options.most]
    for count, threads in [*((count, 1) for count in counts), (cores, cores)]:
        speed = trained(count, threads)
        print(f"{count:8d} {threads:13d} {speed:9.1f} {speed / count:11.1f}", flush=True)


def trained(count: int, threads: int) -> float:
    """Images trained on per second by all workers together, while all of them train."""
    from engine.driver import launch

    sections = {
        "data": {"source": "phantom", "count": 120, "size": 64},
        "folds": {"k": 4},
        "model": {"name": "unet_mtl", "width": 16, "depth": 3},
    }
    study = study_of(2, {"workers": count, "threads": threads, "cpu": 1}, **sections)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        launch.search(study, f"{folder}/run", Console(file=nowhere))
        results = Path(folder).glob("run/results/*/*/result.json")
        found = [json.loads(path.read_text())["result"] for path in results]
    spans = [(one["started"], one["started"] + one["seconds"]) for one in found]
    images = sum(one["train_cases"] * one["epochs"] for one in found)
    return images / (max(end for _, end in spans) - min(start for start, _ in spans))


# -- slots: sleeping folds under the real driver ---------------------------------------------------------


def slots(options: argparse.Namespace) -> None:
    from engine.driver import launch

    seconds = options.seconds
    study = study_of(options.slots * options.rounds // FOLDS, {"workers": options.slots})
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        notes = f"{folder}/notes"
        Path(notes).mkdir()
        busy = time.process_time()
        trainable = sleeper(seconds, notes)
        launch.search(study, f"{folder}/run", Console(file=nowhere), trainable=trainable)
        busy = time.process_time() - busy
        slept = spans(notes)
    print_slots(slept, options.slots, seconds, busy)


def print_slots(slept: list[list[float]], count: int, seconds: float, busy: float) -> None:
    wall = max(end for _, end, *_ in slept) - slept[0][0]
    begun = {worker: start for start, _, worker, _ in reversed(slept)}  # each worker's first fold
    firsts = max(begun.values())
    lasts = slept[-1][0]  # from here on slots run empty
    steady = sum(max(0.0, min(end, lasts) - max(start, firsts)) for start, end, *_ in slept)
    events = len(slept) * (EPOCHS + 2)  # a start, a report per epoch, an end
    print(f"{len(slept)} folds of {seconds:g} s on {count} slots, {os.cpu_count()} cores")
    print(f"all {len(begun)} workers at work after  {firsts - slept[0][0]:8.1f} s")
    print(f"utilisation from then on       {steady / (count * (lasts - firsts)):8.1%}")
    print(f"utilisation from first to last {len(slept) * seconds / (count * wall):8.1%}")
    print(f"the driver computed            {busy:8.1f} s, {1000 * busy / events:.1f} ms per event")
    print(
        f"the driver's memory            {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB"
    )


# -- simulate: one driver, more slots than any machine here has -------------------------------------------


@dataclass
class Server:
    """The driver: handles one event after the other; `free` is when it is done with those so far."""

    free: float = 0.0
    ours: float = 0.0
    busy: float = 0.0
    events: int = 0

    def serve(self, at: float, extra: float, work: Callable[[], Any]) -> tuple[Any, float]:
        """`extra`: seconds beyond our own code, whose processor time is taken from the clock."""
        began = time.process_time()
        answer = work()
        spent = time.process_time() - began
        self.ours, self.busy, self.events = self.ours + spent, self.busy + spent + extra, self.events + 1
        self.free = max(self.free, at) + spent + extra
        return answer, self.free


def simulate(options: argparse.Namespace) -> None:
    print(f"{options.seconds:g}-second folds of {EPOCHS} epochs, rule {options.rule}")
    print(f"Tune {options.tune_ms:g} ms per event, {options.put_ms:g} ms per fold for a commit")
    print(f"{'slots':>6s} {'events/s':>9s} {'ours ms/event':>14s} {'driver busy':>12s} {'utilisation':>12s}")
    for count in options.counts:
        server, utilisation, lasted = simulated(count, options)
        print(f"{count:6d} {server.events / lasted:9.0f} {1000 * server.ours / server.events:14.2f} "
              f"{server.busy / lasted:12.0%} {utilisation:12.1%}", flush=True)  # fmt: skip


@dataclass(order=True)
class Epoch:
    """A slot's epoch that will be over at some time."""

    over: float
    slot: int
    number: int = field(compare=False)
    task: Any = field(compare=False)


def simulated(count: int, options: argparse.Namespace) -> tuple[Server, float, float]:
    """Slots sleep through epochs; a report waits for the driver, and so does the slot for what follows."""
    study = study_of(count * options.rounds, {}, race={"rule": options.rule})
    tune, put, epoch = options.tune_ms / 1000, options.put_ms / 1000, options.seconds / EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        conductor, server = conductor_in(folder, study), Server()
        epochs: list[Epoch] = []
        for slot in range(count):
            task, at = server.serve(0.0, tune + put, conductor.next)
            epochs.append(Epoch(at + epoch, slot, 1, task))
        server, slept = Server(free=server.free), 0.0  # all are at work: from here on it is measured
        began, end = server.free, server.free + options.rounds * options.seconds
        heapq.heapify(epochs)
        while epochs[0].over < end:
            now = heapq.heappop(epochs)
            slept += min(epoch, now.over - began) if now.task is not None else 0.0
            heapq.heappush(epochs, heard(conductor, server, now, epoch, tune, put))
        slept += sum(max(0.0, epoch - (rest.over - end)) for rest in epochs if rest.task is not None)
        conductor.close()
    return server, slept / (count * (end - began)), end - began


def heard(conductor: Any, server: Server, now: Epoch, epoch: float, tune: float, put: float) -> Epoch:
    """What the slot does after a report: the next epoch, or another fold's first; idle it asks again."""
    if now.task is None:
        following, at = server.serve(now.over, 0.0, conductor.next)
        return Epoch(at + (1.0 if following is None else epoch), now.slot, 1, following)
    task, quality = now.task, 0.8 - 0.1 * abs(math.log10(conductor.configuration_of(now.task).train.lr) + 2)
    score = quality - 0.2 / now.number + 0.02 * (hash(task.folder) % 997) / 997
    halted, at = server.serve(now.over, tune, lambda: conductor.reported(task, now.number, score, [score]))
    if task not in halted and now.number < EPOCHS:
        return Epoch(at + epoch, now.slot, now.number + 1, task)
    verdict = halted.get(task)
    status = "complete" if verdict is None else "frozen" if type(verdict).__name__ == "Freeze" else "stopped"
    _, at = server.serve(at, tune, lambda: conductor.ended(task, status, score, [score]))
    following, at = server.serve(at, tune + put, conductor.next)
    return Epoch(at + epoch, now.slot, 1, following)


def conductor_in(folder: str, study: Any) -> Any:
    from engine.conductor import Conductor
    from engine.journal.journal import Journal
    from engine.race.race import Race
    from engine.sampler.sampler import Sampler
    from engine.storage import LocalStorage

    fixed = study.fixed
    race = Race(fixed.race, tuple(f"r0-f{k}" for k in range(FOLDS)), fixed.search.configs, fixed.seed)
    sampler = Sampler(fixed.search, study.space, fixed.seed)
    return Conductor(study, sampler, race, Journal(LocalStorage(Path(folder))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("workers")
    part.add_argument("--most", type=int, default=4)
    part.set_defaults(run=workers)
    part = parts.add_parser("slots")
    part.add_argument("--slots", type=int, default=64)
    part.add_argument("--seconds", type=float, default=10.0)
    part.add_argument("--rounds", type=int, default=24)
    part.set_defaults(run=slots)
    part = parts.add_parser("simulate")
    part.add_argument("--counts", type=int, nargs="+", default=[64, 512, 4096])
    part.add_argument("--seconds", type=float, default=60.0)
    part.add_argument("--rounds", type=int, default=3)
    part.add_argument("--tune-ms", type=float, default=5.0)
    part.add_argument("--put-ms", type=float, default=0.0)
    part.add_argument("--rule", default="none")
    part.set_defaults(run=simulate)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
