"""TensorBoard, MLflow and W&B, each told of epochs and of the ends of folds; imported when first used."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.conductor import Trained
from engine.spec import text
from engine.task import Task

ENDED = {"complete": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}  # else KILLED, until it goes on
NO_METRICS = {"epoch", "stage", "values"}

# A search waits for what its trackers say. Left to themselves they try for minutes or hours to reach a server
# that is gone, and W&B asks on a terminal who its user is. Whoever sets one of these has it so.
IMPATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "WANDB_FINISH_TIMEOUT": "60",
    "WANDB_FINISH_TIMEOUT_RAISES": "true",
    "WANDB_SILENT": "true",
}

ConfigurationOf = Callable[[Task], Trained]


def hurry() -> None:
    for name, value in IMPATIENCE.items():
        os.environ.setdefault(name, value)


def metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn: an undefined figure leaves a gap."""
    figures = {n: v for n, v in row.items() if n not in NO_METRICS and isinstance(v, int | float)}
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def leaves(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class TensorBoard:
    """`<config>/` holds the configuration as text and the folds' scores, `<config>/<fold>/` the epochs."""

    def __init__(self, root: Path, study: str, run: str, configuration_of: ConfigurationOf) -> None:
        self.root, self.configuration_of = root, configuration_of
        self.parents: dict[str, Any] = {}
        self.writers: dict[Task, Any] = {}
        self.described: set[str] = set()
        self.opened = 0
        self.ended: dict[str, int] = {}

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        if task not in self.writers:
            self._parent(task)
            self.writers[task] = self._writer(task.folder, purge_step=row["epoch"])
        for name, value in metrics(row).items():
            self.writers[task].add_scalar(name, value, row["epoch"])

    def end(self, task: Task, status: str, score: float | None) -> None:
        if writer := self.writers.pop(task, None):
            writer.close()
        if score is not None:
            self.ended[task.key] = self.ended.get(task.key, 0) + 1
            self._parent(task).add_scalar("fold_score", score, self.ended[task.key])
        if not any(other.key == task.key for other in self.writers) and task.key in self.parents:
            self.parents.pop(task.key).close()  # each holds a file and a thread

    def close(self) -> None:
        for writer in (*self.parents.values(), *self.writers.values()):
            writer.close()

    def _parent(self, task: Task) -> Any:
        if task.key not in self.parents:
            self.parents[task.key] = self._writer(task.key)
            self._describe(task)
        return self.parents[task.key]

    def _describe(self, task: Task) -> None:
        if task.key not in self.described:
            record = text.dump(self.configuration_of(task).record())
            self.parents[task.key].add_text("configuration", f"```yaml\n{record}```")
            self.described.add(task.key)

    def _writer(self, folder: str, **options: Any) -> Any:
        """Numbered: two of one folder opened within a second would else write the same file."""
        from tensorboardX import SummaryWriter

        self.opened += 1
        return SummaryWriter(str(self.root / folder), filename_suffix=f".{self.opened:06d}", **options)


class MLflow:
    """Runs in a SQLite file, or at MLFLOW_TRACKING_URI; a resumed study finds its runs by their tags, which
    name the run folder too: a server may hold studies of one name by several people."""

    MOST_PARAMETERS = 100  # of one call
    MOST_RUNS = 10_000

    def __init__(self, root: Path, study: str, run: str, configuration_of: ConfigurationOf) -> None:
        hurry()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        root.mkdir(parents=True, exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
        self.client, self.configuration_of = MlflowClient(tracking_uri=uri), configuration_of
        known = self.client.get_experiment_by_name(study)
        place = None if "MLFLOW_TRACKING_URI" in os.environ else (root / "artifacts").as_uri()
        self.run_folder = run
        self.experiment = known.experiment_id if known else self.client.create_experiment(study, place)
        self.runs: dict[str, str] = {}  # a configuration's id, or a task's folder: the run's id

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        points = [Metric(name, value, now, row["epoch"]) for name, value in metrics(row).items()]
        self.client.log_batch(self._fold(task), metrics=points)

    def end(self, task: Task, status: str, score: float | None) -> None:
        if score is not None:
            self.client.log_metric(self._parent(task), "fold_score", score)
        if task.folder in self.runs:
            self.client.set_terminated(self.runs.pop(task.folder), ENDED.get(status, "KILLED"))

    def close(self) -> None:
        """Also what a driver that was killed has left running, and nobody came back to."""
        wanted = f"attributes.status = 'RUNNING' AND tags.sonotune LIKE '{self.run_folder}/%'"
        for run in self.client.search_runs([self.experiment], wanted, max_results=self.MOST_RUNS):
            below = "mlflow.parentRunId" in run.data.tags
            self.client.set_terminated(run.info.run_id, "KILLED" if below else "FINISHED")

    def _fold(self, task: Task) -> str:
        return self._run(task.folder, task.fold, {"mlflow.parentRunId": self._parent(task)})

    def _parent(self, task: Task) -> str:
        known = task.key in self.runs
        run = self._run(task.key, task.key, {})
        if not known:
            self._describe(run, self.configuration_of(task))
        return run

    def _run(self, name: str, shown: str, tags: dict[str, str]) -> str:
        if name not in self.runs:
            wanted = f"tags.sonotune = '{self.run_folder}/{name}'"
            found = self.client.search_runs([self.experiment], filter_string=wanted, max_results=1)
            self.runs[name] = found[0].info.run_id if found else self._new(name, shown, tags)
            self.client.update_run(self.runs[name], "RUNNING")
        return self.runs[name]

    def _new(self, name: str, shown: str, tags: dict[str, str]) -> str:
        run = self.client.create_run(
            self.experiment, tags={"sonotune": f"{self.run_folder}/{name}"} | tags, run_name=shown
        )
        return str(run.info.run_id)

    def _describe(self, run: str, configuration: Trained) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in leaves(configuration.record())]
        for first in range(0, len(params), self.MOST_PARAMETERS):
            self.client.log_batch(run, params=params[first : first + self.MOST_PARAMETERS])


class WandB:
    """W&B has no runs below runs: a configuration is a group, each of its folds a run in it."""

    def __init__(self, root: Path, study: str, run: str, configuration_of: ConfigurationOf) -> None:
        hurry()
        for name in ("CACHE", "CONFIG", "DATA"):
            os.environ.setdefault(f"WANDB_{name}_DIR", str(root / name.lower()))
        self.root, self.study, self.run_folder, self.configuration_of = root, study, run, configuration_of
        self.runs: dict[Task, Any] = {}

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        if task not in self.runs:
            self.runs[task] = self._begin(task)
        self.runs[task].log(metrics(row), step=row["epoch"])

    def end(self, task: Task, status: str, score: float | None) -> None:
        run = self.runs.pop(task, None)
        if run is not None:
            run.summary["status"] = status
            run.finish(exit_code=int(ENDED.get(status) == "FAILED"))

    def close(self) -> None:
        for run in self.runs.values():
            run.finish()

    def _begin(self, task: Task) -> Any:
        import wandb

        self.root.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            dir=str(self.root),
            project=self.study,
            group=task.key,
            name=task.folder,
            id=f"{self.run_folder}-{task.key}-{task.fold}",
            resume="allow",
            config=self.configuration_of(task).record(),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )


BACKENDS: Mapping[str, Callable[[Path, str, str, ConfigurationOf], Any]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
