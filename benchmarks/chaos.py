"""One study, broken again and again, against the same study left in peace: folds, means and pick must agree.

    python -m benchmarks.chaos [--configs 6] [--epochs 8] [--kills 20] [--seed 0] [--only workers drivers]

From the repository's root. `workers`: a busy worker is killed (-9) whenever so many epochs have been reported
(and another is told to go (SIGTERM) a little less often). `drivers`: the driver is killed (-9) at random
moments, also while it starts, and resumed, `--kills` times in one study.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.results import RunPaths
from engine.spec.text import dump
from tests import faulty
from tests.run_folder import records, tasks

EVERY = 8  # epochs between two workers that go
LONGEST = 0.4  # of the undisturbed search's time, that a driver may live
TITLES = ("", "hits", "folds", "failed", "epochs", "told twice", "seconds", "outcome")


def kill_workers(
    folder: Path, over: threading.Event, every: int, how: signal.Signals = signal.SIGKILL
) -> list[int]:
    """Sends the signal to some busy worker whenever so many more epochs have been reported; their pids."""
    chance, hit, due = random.Random(0), [], every
    while not over.wait(0.2):
        if not (folder / RunPaths.journal).exists() or len(records(folder, "reported")) < due:
            continue
        workers = busy_workers(os.getpid())
        if workers:
            hit.append(chance.choice(workers))
            with suppress(ProcessLookupError):
                os.kill(hit[-1], how)
            due = len(records(folder, "reported")) + every
    return hit


def busy_workers(pid: int) -> list[int]:
    """Ray's workers below this process that are in the middle of an epoch."""
    return [child for child, _ in faulty.offspring(pid) if ".train" in _title(child)]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def workers(folder: Path, document: dict[str, Any], options: argparse.Namespace) -> int:
    hit: list[int] = []

    def kills(over: threading.Event) -> None:
        hit.extend(kill_workers(folder, over, EVERY))

    def notices(over: threading.Event) -> None:
        hit.extend(kill_workers(folder, over, EVERY + 3, signal.SIGTERM))

    with faulty.meanwhile(kills), faulty.meanwhile(notices):
        faulty.search(folder, **document)
    return len(hit)


def drivers(folder: Path, document: dict[str, Any], options: argparse.Namespace) -> int:
    chance, below, killed = random.Random(options.seed), [], 0
    space = folder.parent / "space.yaml"
    space.write_text(dump(document))
    while True:
        known = (folder / RunPaths.study).exists() and (folder / RunPaths.journal).exists()
        words = ("resume", str(folder)) if known else ("search", str(space), "--run", str(folder))
        process = faulty.driver(folder, *words)
        try:
            code = process.wait(chance.uniform(1.0, options.longest) if killed < options.kills else None)
        except subprocess.TimeoutExpired:
            below += faulty.offspring(process.pid)
            process.kill()
            process.wait()
            killed += 1
            continue
        assert code == 0, (folder.parent / "out.log").read_text()[-4000:]
        break
    faulty.wait_until(lambda: not faulty.alive(below), 120)
    return killed


CHAOS: dict[str, Callable[[Path, dict[str, Any], argparse.Namespace], int]] = {
    "workers": workers,
    "drivers": drivers,
}


def told(name: str, folder: Path, undisturbed: Path, hits: int, seconds: float) -> None:
    faulty.check_like(folder, undisturbed)
    epochs = Counter((json.dumps(r["task"]), r["epoch"]) for r in records(folder, "reported"))
    again = sum(count - 1 for count in epochs.values())
    complete, failed = (len(tasks(folder, "ended", status=how)) for how in ("complete", "failed"))
    cells = (name, hits, complete, failed, len(epochs), again, f"{seconds:.0f}", "equal")
    print("".join(f"{cell!s:>13s}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--configs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=CHAOS, default=list(CHAOS))
    options = parser.parse_args()
    document = faulty.document(search={"sampler": "random", "configs": options.configs})
    document["train"] |= {"epochs": options.epochs, "retries": 10}
    print("".join(f"{title:>13s}" for title in TITLES))
    with tempfile.TemporaryDirectory(prefix="chaos-") as place:
        undisturbed = Path(place) / "undisturbed" / "run"
        seconds = timed(undisturbed, lambda: faulty.search(undisturbed, **document))
        options.longest = seconds * LONGEST
        told("undisturbed", undisturbed, undisturbed, 0, seconds)
        for name in options.only:
            folder, hits = Path(place) / name / "run", []
            with faulty.nothing_left_behind():
                seconds = timed(folder, lambda: hits.append(CHAOS[name](folder, document, options)))  # noqa: B023
            told(name, folder, undisturbed, hits[0], seconds)


def timed(folder: Path, run: Callable[[], Any]) -> float:
    folder.parent.mkdir()
    began = time.monotonic()
    run()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
