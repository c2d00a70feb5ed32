"""What it saves to train a first stage once: the same search with shared first stages and without.

    python benchmarks/stage_reuse.py [--workers 1] [--epochs 6]

Twelve two-stage configurations with three distinct first stages on three folds. Without reuse every
configuration's first stage is made a stage of its own, by a bound of its gradients that none reaches, so both
searches train the same networks on the same images. A bundle is the segmenters of one first stage on one
fold: its inner folds' and the one of the whole training part.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.driver import launch
from engine.journal.journal import read_journal
from engine.spec.load import study_of
from engine.spec.study import Study
from engine.storage import LocalStorage

FIRST, SECOND, FOLDS, INNER = 3, 4, 3, 2
MOST = 0.5  # of the wall time without reuse


def variants(shared: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for first in range(FIRST):
        for second in range(SECOND):
            own = {} if shared else {"clip": 1e9 + second}
            stages = {"segment": {"width": 4 + 2 * first, "train": own}, "classify": {"width": 4 + second}}
            yield f"v{first}{second}", {"model": {"two_stage": stages}}


def study(shared: bool, workers: int, epochs: int) -> Study:
    train = {"batch": 8, "lr": 1e-2}
    loss = {"segmentation": "dice_ce"}
    segment = {"name": "unet_mtl", "depth": 2, "loss": loss, "train": train | {"epochs": epochs}}
    classify = {"name": "unet_mtl", "depth": 2, "train": train | {"epochs": 1}}
    return study_of(
        {
            "study": "stage-reuse",
            "data": {"source": "phantom", "count": 60, "size": 32},
            "folds": {"k": FOLDS},
            "model": {"two_stage": {"segment": segment, "classify": classify, "inner_folds": INNER}},
            "variants": dict(variants(shared)),
            "predict": {"threshold": 0.3},
            "search": {"sampler": "grid", "configs": FIRST * SECOND},
            "race": {"rule": "none"},
            "resources": {"workers": workers, "device": "cpu", "keep": "none"},
        },
        "benchmark",
    )


def measured(shared: bool, workers: int, epochs: int) -> dict[str, float]:
    """From the first task's start to the last one's end, so that starting Ray counts on neither side."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        began = time.perf_counter()
        launch.search(study(shared, workers, epochs), str(folder), Console(quiet=True))
        whole = time.perf_counter() - began
        records = read_journal(LocalStorage(folder))[0]
        results = [json.loads(p.read_text())["result"] for p in folder.glob("results/*/*/result.json")]
    stages = {record["prerequisite"] for record in records if record["event"] == "opened"}
    ended = [r for r in records if r["event"] == "ended" and r["status"] == "complete"]
    bundles = sum(record["task"]["key"] in stages for record in ended)
    last = max(result["started"] + result["seconds"] for result in results)
    wall = last - min(result["started"] for result in results)
    return {"bundles": bundles, "folds": len(ended) - bundles, "search_s": wall, "whole_s": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    with_reuse = measured(True, options.workers, options.epochs)
    without = measured(False, options.workers, options.epochs)
    share = with_reuse["search_s"] / without["search_s"]
    print(json.dumps({"with": with_reuse, "without": without, "share": share}, indent=1))
    good = (with_reuse["bundles"], without["bundles"]) == (FIRST * FOLDS, FIRST * SECOND * FOLDS)
    raise SystemExit(0 if good and share <= MOST else 1)


if __name__ == "__main__":
    main()
