"""Whether a long search grows: memory and open files of the driver and of its workers, and the disk.

    python -m benchmarks.soak [--folds 2000] [--seconds 0.05] [--slots 2]    # sleeps in the place of training
    python -m benchmarks.soak --train --folds 200                            # trains tiny networks

From the repository's root. What counts is the growth from a fifth of the folds on, when everything is loaded,
to the end; it ends with 1 when any of it is above its limit.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sleeping import sleeper
from tests.faulty import offspring

os.environ.setdefault("RAY_worker_niceness", "0")
FOLDS = 5
WARM = 0.2
MOST_MB, MOST_FILES = 50.0, 5
TITLES = " folds  driver MB  workers MB  files  workers  kept MB"


@dataclass(frozen=True)
class Sample:
    folds: int
    driver_mb: float
    worker_mb: float  # of the largest worker
    files: int
    worker_files: int
    kept_mb: float  # checkpoints

    def __str__(self) -> str:
        return (
            f"{self.folds:6d} {self.driver_mb:10.1f} {self.worker_mb:11.1f} {self.files:6d} "
            f"{self.worker_files:8d} {self.kept_mb:8.2f}"
        )


def memory(pid: int) -> float:
    """Private and touched: what is shared with the object store is nobody's growth."""
    resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sample(run: Path) -> Sample | None:
    journal = run / "journal.jsonl"
    if not journal.exists():
        return None
    workers = [pid for pid, _ in offspring(os.getpid()) if _trains(pid)]
    try:
        return Sample(
            journal.read_bytes().count(b'"event":"ended"'),
            memory(os.getpid()),
            max(map(memory, workers), default=0.0),
            len(os.listdir("/proc/self/fd")),
            max((len(os.listdir(f"/proc/{pid}/fd")) for pid in workers), default=0),
            sum(file.stat().st_size for file in run.glob("checkpoints/*/*/*")) / 2**20,
        )
    except OSError:  # something went while it was looked at
        return None


def _trains(pid: int) -> bool:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return title.startswith((b"ray::ResourceTrainable", b"ray::Sleeper", b"ray::FoldTrainable"))


def watch(run: Path, over: threading.Event, every: int, samples: list[Sample]) -> None:
    while not over.wait(0.5):
        found = sample(run)
        if found and found.worker_mb and found.folds >= (samples[-1].folds + every if samples else 1):
            samples.append(found)
            print(found, flush=True)


def search(run: Path, options: argparse.Namespace) -> None:
    from rich.console import Console

    from engine.driver import launch
    from engine.driver.worker import FoldTrainable
    from engine.spec.load import study_of

    study = study_of(
        {
            "study": "soak",
            "data": {"source": "phantom", "count": 60, "size": 32},
            "folds": {"k": FOLDS},
            "model": {"name": "unet_mtl", "width": 4, "depth": 2},
            "train": {"lr": {"loguniform": [1e-5, 1e-1]}, "epochs": 1},
            "search": {"sampler": "random", "configs": options.folds // FOLDS},
            "race": {"rule": "none"},
            "resources": {"workers": options.slots, "device": "cpu", "keep_configurations": 3},
        },
        "soak",
    )
    trainable = FoldTrainable if options.train else sleeper(options.seconds)
    with open(os.devnull, "w") as nowhere:
        launch.search(study, str(run), Console(file=nowhere), trainable=trainable)


def verdict(samples: list[Sample], folds: int) -> bool:
    warm = next(one for one in samples if one.folds >= WARM * folds)
    last = samples[-1]
    growth = {
        "driver MB": (last.driver_mb - warm.driver_mb, MOST_MB),
        "workers MB": (last.worker_mb - warm.worker_mb, MOST_MB),
        "files of the driver": (last.files - warm.files, MOST_FILES),
        "checkpoints, MB": (last.kept_mb - warm.kept_mb, MOST_MB),
        "files of the workers": (last.worker_files - warm.worker_files, MOST_FILES),
    }
    print(f"from {warm.folds} to {last.folds} folds:")
    for name, (grown, most) in growth.items():
        print(f"  {name:22s} {grown:+8.1f}   at most {most:g}{'' if grown <= most else '   TOO MUCH'}")
    return all(grown <= most for grown, most in growth.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folds", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    samples: list[Sample] = []
    over = threading.Event()
    print(TITLES)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        thread = threading.Thread(target=watch, args=(run, over, max(1, options.folds // 20), samples))
        thread.start()
        began = time.monotonic()
        try:
            search(run, options)
        finally:
            over.set()
            thread.join()
        print(f"{options.folds} folds in {time.monotonic() - began:.0f} s")
        sys.exit(0 if verdict(samples, options.folds) else 1)


if __name__ == "__main__":
    main()
