"""Trackers get every epoch of every fold, below the configuration they belong to, and can do no harm."""

import os
import pty
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.driver import trackers, tracking
from engine.driver.trackers import metrics
from engine.driver.tracking import Tracking, require, start
from engine.errors import SonotuneError
from engine.spec.study import Configuration
from engine.storage import LocalStorage, Storage
from engine.task import Task

KEY = Configuration().config_id
FIRST, SECOND = Task(KEY, "r0-f0"), Task(KEY, "r0-f1")


def row(epoch: int, score: float) -> dict[str, Any]:
    return {"stage": "main", "epoch": epoch, "values": [score], "score": score, "validation_dice": score / 2,
            "train_total": float("nan") if epoch == 2 else 1.0}  # fmt: skip


def tell(name: Any, place: Path, rows: Mapping[Task, list[dict[str, Any]]], status: str = "complete") -> None:
    """What a driver's life says to one tracker."""
    with start((name,), LocalStorage(place), "study", lambda task: Configuration()) as told:
        for task, epochs in rows.items():
            for one in epochs:
                told.epoch(task, one)
            told.end(task, status, epochs[-1]["score"])
        assert set(told.backends) == {name}


def two_folds() -> dict[Task, list[dict[str, Any]]]:
    return {FIRST: [row(1, 0.5), row(2, 0.7)], SECOND: [row(1, 0.4)]}


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """TensorBoard's files: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value if v.simple_value]
            data = data[16 + length :]
    return found


def test_tensorboard_has_a_folder_for_each_configuration_and_fold(tmp_path: Path) -> None:
    tell("tensorboard", tmp_path, two_folds())
    root = tmp_path / "tracking" / "tensorboard"
    assert [(n, s, round(v, 3)) for n, s, v in scalars(root / KEY / "r0-f0") if n == "score"] == [
        ("score", 1, 0.5),
        ("score", 2, 0.7),
    ]
    assert {name for name, _, _ in scalars(root / KEY / "r0-f1")} == {
        "score",
        "validation_dice",
        "train_total",
    }
    assert [(n, s, round(v, 3)) for n, s, v in scalars(root / KEY)] == [
        ("fold_score", 1, 0.7),
        ("fold_score", 2, 0.4),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["tracking"]


def test_mlflow_nests_folds_below_their_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra: tracking)")
    monkeypatch.chdir(tmp_path)
    tell("mlflow", tmp_path / "run", {FIRST: [row(1, 0.5)]}, "interrupted")
    tell("mlflow", tmp_path / "run", {FIRST: [row(2, 0.7)], SECOND: [row(1, 0.4)]})
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/run/tracking/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("study").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {KEY, "r0-f0", "r0-f1"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs[KEY]
    assert parent.data.params["loss.lambda"] == "0.5"
    assert parent.data.params["model.name"] == "unet_mtl"
    for name in ("r0-f0", "r0-f1"):
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
    history = client.get_metric_history(runs["r0-f0"].info.run_id, "score")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.7)]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_a_killed_driver_left_running_in_mlflow_ends_with_the_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra: tracking)")
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage(tmp_path / "run")
    killed = start(("mlflow",), storage, "study", lambda task: Configuration())
    for task in (FIRST, SECOND):
        killed.epoch(task, row(1, 0.5))
    killed.end(FIRST, "complete", 0.5)
    with start(("mlflow",), storage, "study", lambda task: Configuration()):
        pass
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/run/tracking/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("study").experiment_id
    ends = {run.info.run_name: run.info.status for run in client.search_runs([experiment])}
    assert ends == {KEY: "FINISHED", "r0-f0": "FINISHED", "r0-f1": "KILLED"}


def test_two_runs_of_one_name_are_two_on_a_shared_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra: tracking)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/server.db")
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "yours", "mine"):
        tell("mlflow", tmp_path / name, {FIRST: [row(1, 0.5)]})
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("study").experiment_id
    assert sorted(run.info.run_name for run in client.search_runs([experiment])) == sorted(2 * [KEY, "r0-f0"])


def test_mlflow_whose_server_is_away_is_left_out_within_seconds_and_its_user_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed (extra: tracking)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said: list[str] = []
    began = time.monotonic()
    with start(
        ("mlflow",), LocalStorage(tmp_path), "study", lambda task: Configuration(), said.append
    ) as told:
        assert not told.backends
    assert said == ["tracking: mlflow failed and is left out from now on; run.log says why"]
    assert time.monotonic() - began < 60


NOBODY_LOGGED_IN = f"""
import sys
from pathlib import Path
from engine.driver.tracking import start
from engine.spec.study import Configuration
from engine.storage import LocalStorage
from engine.task import Task

with start(("wandb",), LocalStorage(Path(sys.argv[1])), "study", lambda task: Configuration()) as told:
    told.epoch(Task({KEY!r}, "r0-f0"), {{"epoch": 1, "score": 0.5}})
    print(list(told.backends))
"""


def test_wandb_asks_nobody_on_a_terminal_who_they_are(tmp_path: Path) -> None:
    """Its question would keep all folds waiting."""
    pytest.importorskip("wandb", reason="wandb is not installed (extra: tracking)")
    others = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    ours, theirs = pty.openpty()
    process = subprocess.run(
        [sys.executable, "-c", NOBODY_LOGGED_IN, str(tmp_path)],
        env=others | {"HOME": str(tmp_path / "home"), "TERM": "xterm"},
        cwd=Path(__file__).parents[1], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert process.stdout.split() == [b"[]"]


def test_wandb_writes_offline_runs_into_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed (extra: tracking)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.delenv(f"WANDB_{name}_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    tell("wandb", tmp_path / "run", two_folds())
    names = [path.name for path in (tmp_path / "run/tracking/wandb/wandb").glob("offline-run-*")]
    assert sorted(name[-len(KEY) - 6 :] for name in names) == [f"{KEY}-r0-f0", f"{KEY}-r0-f1"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_tensorboard_holds_open_only_what_is_being_trained(tmp_path: Path) -> None:
    """A file and a thread for each configuration would end a long search."""
    board = trackers.TensorBoard(tmp_path, "", "", lambda task: Configuration())
    board.epoch(FIRST, row(1, 0.5))
    board.epoch(SECOND, row(1, 0.4))
    board.end(FIRST, "complete", 0.5)
    assert list(board.parents) == [KEY]
    board.end(SECOND, "complete", 0.4)
    assert not board.parents
    assert not board.writers
    told = [(name, step) for name, step, _ in scalars(tmp_path / KEY)]
    assert told == [("fold_score", 1), ("fold_score", 2)]


class Broken:
    def __init__(
        self, root: Path, study: str, run: str, configuration_of: Callable[[Task], Configuration]
    ) -> None:
        self.asked, self.closed = 0, 0

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        self.asked += 1
        raise ConnectionError("no network")

    def end(self, task: Task, status: str, score: float | None) -> None:
        self.asked += 1

    def close(self) -> None:
        self.closed += 1


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    broken = Broken(tmp_path, "", "", lambda task: Configuration())
    sound = trackers.TensorBoard(tmp_path, "", "", lambda task: Configuration())
    with Tracking({"broken": broken, "sound": sound}) as told:
        told.epoch(FIRST, row(1, 0.5))
        told.epoch(FIRST, row(2, 0.6))
        told.end(FIRST, "complete", 0.6)
    assert (broken.asked, broken.closed) == (1, 1)
    assert len([1 for name, _, _ in scalars(tmp_path / FIRST.folder) if name == "score"]) == 2


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MODULES", {"wandb": "no_such_package"})
    with pytest.raises(SonotuneError, match=r"wandb needs the package no_such_package.*sonotune\[tracking\]"):
        require(("wandb",), LocalStorage(tmp_path))


def test_trackers_need_a_run_folder_on_a_disk() -> None:
    elsewhere = Storage()
    elsewhere.location = "s3://bucket/run"
    require((), elsewhere)
    with pytest.raises(SonotuneError, match=r"s3://bucket/run is no folder on a disk"):
        require(("tensorboard",), elsewhere)


def test_only_figures_are_metrics() -> None:
    assert set(metrics(row(2, 0.5))) == {"score", "validation_dice"}
    assert set(metrics(row(1, 0.5))) == {"score", "validation_dice", "train_total"}
