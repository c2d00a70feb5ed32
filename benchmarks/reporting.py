"""How long reports take: a million case rows, 200 configurations × 5 folds, BBC-CV.

Run it by: python benchmarks/reporting.py
The run folders are synthetic (tests/runs.py) and are made in a temporary folder; making them is not timed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TARGETS = {
    "aggregate a million case rows": {"seconds": 5.0, "peak_mb": 1500.0},
    "report of 200 configurations × 5 folds": {"seconds": 30.0},
    "BBC-CV, 1,000 × 200 × 800": {"seconds": 20.0},
}


def aggregate(folder: str) -> None:
    """Folds into means, and every main figure pooled over a million test rows."""
    from reports import pooled, stack
    from reports.aggregate import figures, frame
    from reports.load import load

    run = load(folder)
    table = frame(figures(run))
    rows = stack.read(run, "test")
    assert rows.columns["dice"].size == 1_000_000, rows.columns["dice"].size
    for name in ("dice", "dice_pooled", "f1_macro", "accuracy", "hd95", "auc_macro", "ece"):
        what = pooled.statistic(name, run.classes)
        assert what is not None
        assert np.isfinite(pooled.figures(rows, what)).all()
    assert table.num_rows > 10_000


def report(folder: str) -> None:
    from reports.write import write

    assert Path(write(folder)).stat().st_size < 5_000_000


def bbc(folder: str) -> None:
    from engine.spec.select import Select
    from reports.load import load
    from reports.study import study_of

    study = study_of(load(folder), Select(bootstraps=1000))
    assert study.optimism[0]["configurations"] == 200


def measured(work: Callable[[str], None], folder: str) -> dict[str, float]:
    """In a process of its own, so that the peak is the work's."""
    name = work.__name__
    told = subprocess.run(
        [sys.executable, __file__, "--only", name, "--folder", folder],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(told.stdout.strip().splitlines()[-1]))


def once(name: str, folder: str) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    {"aggregate": aggregate, "report": report, "bbc": bbc}[name](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu, "peak_mb": peak}))


def main() -> None:
    from tests.runs import Plan, make_run

    with tempfile.TemporaryDirectory() as place:
        big = str(make_run(f"{place}/big", Plan(configs=200, folds=5, cases=5000, epochs=3)))
        usual = str(make_run(f"{place}/usual", Plan(configs=200, folds=5, cases=800, epochs=20)))
        works = ((aggregate, big), (report, usual), (bbc, usual))
        for (title, target), (work, folder) in zip(TARGETS.items(), works, strict=True):
            found = measured(work, folder)
            fine = all(found[key] <= bound for key, bound in target.items())
            print(f"{title}: {found['seconds']:.1f} s ({found['cpu']:.1f} s of processor), "
                  f"{found['peak_mb']:.0f} MB; target {target}: {'met' if fine else 'MISSED'}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["aggregate", "report", "bbc"])
    parser.add_argument("--folder")
    given = parser.parse_args()
    once(given.only, given.folder) if given.only else main()
