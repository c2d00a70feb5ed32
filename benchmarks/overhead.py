"""What a fold costs beyond its training: our driver, plain Ray Tune and bare Ray actors over the same work.

    python benchmarks/overhead.py [--tasks 40] [--seconds 2] [--slots 2] [--rule none]

Every task sleeps in the place of training and notes when it began and ended. All score alike, so that a race
freezes folds and drops none. Utilisation is the time slept
by all slots over slots x wall time from the first beginning to the last end; the overhead per fold is what
is left of a slot's time, per task. Each contestant runs in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.sleeping import EPOCHS, note, sleeper, spans

os.environ.setdefault("RAY_worker_niceness", "0")
FOLDS = 5


def summary(notes: str, slots: int, seconds: float) -> dict[str, float]:
    slept = spans(notes)
    wall = max(end for _, end, *_ in slept) - slept[0][0]
    folds = sum(epochs for *_, epochs in slept) / EPOCHS
    return {
        "tasks": folds,
        "wall_s": wall,
        "utilisation": folds * seconds / (slots * wall),
        "overhead_s": slots * wall / folds - seconds,
    }


def with_sonotune(notes: str, tasks: int, seconds: float, slots: int, rule: str) -> dict[str, float]:
    """The real driver, conductor, journal, Tune and warm workers."""
    from rich.console import Console

    from engine.driver import launch
    from engine.spec.load import study_of

    study = study_of(
        {
            "study": "overhead",
            "data": {"source": "phantom", "count": 60, "size": 32},
            "folds": {"k": FOLDS},
            "train": {"lr": {"loguniform": [1e-5, 1e-1]}, "epochs": EPOCHS},
            "search": {"sampler": "random", "configs": tasks // FOLDS},
            "race": {"rule": rule},
            "resources": {"workers": slots, "device": "cpu"},
        },
        "overhead",
    )
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        began = time.process_time()
        launch.search(study, f"{folder}/run", Console(file=nowhere), trainable=sleeper(seconds, notes))
        return {"driver_cpu_ms_per_fold": 1000 * (time.process_time() - began) / tasks}


def with_tune(notes: str, tasks: int, seconds: float, slots: int, rule: str) -> dict[str, float]:
    """A function trainable as the documentation shows it, with default settings."""
    import ray
    from ray import tune

    def train(config: dict[str, Any]) -> None:
        began = time.time()
        for _ in range(EPOCHS):
            time.sleep(seconds / EPOCHS)
            tune.report({"score": 0.5})
        note(notes, began)

    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-5, 1e-1)},
            tune_config=tune.TuneConfig(num_samples=tasks),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    ray.shutdown()
    return {}


def with_actors(notes: str, tasks: int, seconds: float, slots: int, rule: str) -> dict[str, float]:
    """The least that Ray allows: an actor per slot, the next task as soon as one is free."""
    import ray

    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False)

    @ray.remote(num_cpus=1)
    class Slot:
        def work(self) -> None:
            began = time.time()
            for _ in range(EPOCHS):
                time.sleep(seconds / EPOCHS)
            note(notes, began)

    from ray.util import ActorPool

    pool = ActorPool([Slot.remote() for _ in range(slots)])
    list(pool.map_unordered(lambda slot, _: slot.work.remote(), range(tasks)))
    ray.shutdown()
    return {}


CONTESTANTS = {"sonotune": with_sonotune, "ray tune": with_tune, "bare actors": with_actors}


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, *(f"--{k}={getattr(options, k)}" for k in SHARED)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


SHARED = ("tasks", "seconds", "slots", "rule")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rule", default="none")
    parser.add_argument("--only", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.only:
        with tempfile.TemporaryDirectory() as notes:
            extra = CONTESTANTS[options.only](
                notes, options.tasks, options.seconds, options.slots, options.rule
            )
            print(json.dumps(summary(notes, options.slots, options.seconds) | extra))
        return
    print(f"{'':12s} {'tasks':>6s} {'wall s':>8s} {'used':>7s} {'overhead s/fold':>16s}")
    for name in CONTESTANTS:
        found = measure(name, options)
        cpu = found.get("driver_cpu_ms_per_fold")
        note = f"   driver's own processor time {cpu:.0f} ms/fold" if cpu else ""
        print(f"{name:12s} {found['tasks']:6.0f} {found['wall_s']:8.1f} {found['utilisation']:7.1%} "
              f"{found['overhead_s']:16.3f}{note}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
