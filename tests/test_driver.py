"""The real thing, small: Ray Tune, warm workers, a journal, and a search that is killed."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from engine.driver import launch
from engine.driver.budget import Spent, earlier
from engine.driver.search import TaskSearcher
from engine.driver.session import Outcome
from engine.errors import SonotuneError
from engine.results import RunPaths
from engine.spec.load import study_of
from engine.spec.search import Budget
from engine.spec.study import Study
from engine.spec.text import dump
from engine.storage import LocalStorage
from engine.task import Task
from tests.faulty import driver, wait_until
from tests.run_folder import digits, records, summary

ROOT = Path(__file__).parents[1]


def document(workers: int = 2, **sections: Any) -> dict[str, Any]:
    return {
        "study": "driver",
        "data": {"source": "phantom", "count": 48, "size": 32},
        "folds": {"k": 2},
        "model": {"name": "unet_mtl", "width": 4, "depth": 2},
        "train": {"epochs": 3, "batch": 8, "lr": {"loguniform": [1e-4, 1e-2]}},
        "search": {"sampler": "random", "configs": 3},
        "race": {"rule": "none"},
        "resources": {"workers": workers, "device": "cpu"},
        **sections,
    }


def search(folder: Path, workers: int = 2, **sections: Any) -> Outcome:
    study: Study = study_of(document(workers, **sections), "test")
    return launch.search(study, str(folder), quiet())


def quiet() -> Console:
    return Console(file=open(os.devnull, "w"))


def picked(folder: Path) -> str:
    return str(summary(folder)["picked"]["config_id"])


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "run"
    search(folder, workers=1)
    return folder


def test_two_workers_give_the_same_digits_and_the_same_pick_as_one(one_worker: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", workers=2)
    assert digits(tmp_path / "run") == digits(one_worker)
    assert len(digits(one_worker)) == 3 * 2 * 3
    assert picked(tmp_path / "run") == picked(one_worker)


def test_workers_are_kept_warm(one_worker: Path) -> None:
    results = [json.loads(p.read_text())["result"] for p in one_worker.glob("results/*/*/result.json")]
    assert len({result["worker"] for result in results}) == 1


def test_nothing_is_left_behind(one_worker: Path) -> None:
    assert not ray.is_initialized()
    names = {entry.name for entry in one_worker.iterdir()} - {"report"}
    assert names == {"study.yaml", "folds.json", "journal.jsonl", "provenance.json", "run.log", "results",
                     "checkpoints", "optuna.log"} | ({"lock"} & names)  # fmt: skip


def test_a_search_into_an_existing_run_is_refused_and_names_resume(one_worker: Path) -> None:
    before = (one_worker / RunPaths.journal).read_bytes()
    with pytest.raises(SonotuneError, match="sonotune resume"):
        search(one_worker)
    assert (one_worker / RunPaths.journal).read_bytes() == before


def test_folds_of_another_run_are_reused_and_not_trained(one_worker: Path, tmp_path: Path) -> None:
    whole = document(1)
    study = study_of(whole | {"search": whole["search"] | {"configs": 1}}, "test")
    launch.search(study, str(tmp_path / "run"), quiet(), reuse=[str(one_worker)])
    more = {"search.configs": whole["search"]["configs"]}
    launch.resume(str(tmp_path / "run"), quiet(), changes=more)
    assert digits(tmp_path / "run") == digits(one_worker)
    assert all(record.get("reused") for record in records(tmp_path / "run", "ended"))


@pytest.mark.faults
@pytest.mark.timeout(900)  # also on a busy machine
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_search_that_was_cut_off_goes_on_and_trains_nothing_twice(
    one_worker: Path, tmp_path: Path, how: signal.Signals
) -> None:
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document(1)))
    process = driver(folder, "search", str(space), "--run", str(folder))
    wait_until(lambda: records(folder, "ended"))
    process.send_signal(how)
    code = process.wait(300)
    finished = [record["task"] for record in records(folder, "ended") if record["status"] == "complete"]
    assert code == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert driver(folder, "resume", str(folder)).wait(600) == 0
    started = [record["task"] for record in records(folder, "started")]
    assert all(started.count(task) == 1 for task in finished)
    assert digits(folder) == digits(one_worker)
    assert picked(folder) == picked(one_worker)


@pytest.mark.faults
def test_a_search_whose_whole_process_group_is_told_to_go_ends_as_by_ctrl_c(tmp_path: Path) -> None:
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document(1)))
    process = driver(folder, "search", str(space), "--run", str(folder), leads=True)
    wait_until(lambda: records(folder, "reported"))
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(300) == 130
    assert "nothing is lost" in (tmp_path / "out.log").read_text()
    assert not (folder / RunPaths.lock).exists()


@pytest.mark.faults
def test_a_search_closed_before_a_fold_that_was_handed_out_has_started_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggest = TaskSearcher.suggest

    def closed_at_once(self: TaskSearcher, trial_id: str) -> Any:
        found = suggest(self, trial_id)
        self.closing = self.closing or isinstance(found, dict)  # as Ctrl-C does, at this very moment
        return found

    monkeypatch.setattr(TaskSearcher, "suggest", closed_at_once)
    assert search(tmp_path / "run", workers=1).interrupted
    assert not records(tmp_path / "run", "reported")


@pytest.mark.faults
def test_a_run_can_be_extended(one_worker: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search(folder, workers=1, search={"sampler": "random", "configs": 1})
    launch.resume(str(folder), quiet(), changes={"search.configs": 3})
    assert digits(folder) == digits(one_worker)


@pytest.mark.faults
def test_a_study_that_was_done_is_not_while_one_of_its_results_is_damaged(
    one_worker: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(one_worker, folder)
    task = Task(**records(folder, "ended")[1]["task"])
    (folder / RunPaths.result(task) / "cases_test.parquet").write_bytes(b"torn")
    launch.resume(str(folder), quiet())
    assert [Task(**record["task"]) for record in records(folder, "lost")] == [task]
    assert len(records(folder, "started")) == len(records(one_worker, "started")) + 1
    assert digits(folder) == digits(one_worker)


def test_a_study_edited_by_hand_is_refused_and_named_changes_are_not(
    one_worker: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(one_worker, folder)
    with pytest.raises(SonotuneError, match="cannot change within a run"):
        launch.resume(str(folder), quiet(), changes={"train.epochs": 5})
    text = (folder / RunPaths.study).read_text()
    (folder / RunPaths.study).write_text(text.replace("epochs: 3", "epochs: 4"))
    with pytest.raises(SonotuneError, match="edited after the run began"):
        launch.resume(str(folder), quiet())


@pytest.mark.faults
def test_a_network_beyond_a_bound_is_trained_for_one_epoch_only(tmp_path: Path) -> None:
    model = {"name": "unet_mtl", "width": {"choice": [4, 12]}, "depth": 2}
    within = {"sampler": "grid", "configs": 2, "constraints": {"parameters": 20000}}
    train = {"epochs": 3, "batch": 8}
    search(tmp_path / "run", 1, model=model, train=train, search=within, race={"rule": "reserve"})
    (large,) = (r["config"] for r in records(tmp_path / "run", "dropped") if "breaks a bound" in r["reason"])
    told = [r for r in records(tmp_path / "run", "reported") if r["task"]["key"] == large]
    assert [r["epoch"] for r in told] == [1]
    assert told[0]["figures"]["parameters"] > 20000
    assert picked(tmp_path / "run") != large


@pytest.mark.faults
def test_the_sampler_learns_from_an_earlier_run(one_worker: Path, tmp_path: Path) -> None:
    study = study_of(document(1, search={"sampler": "tpe", "configs": 1}), "test")
    launch.search(study, str(tmp_path / "run"), quiet(), warm_from=[str(one_worker)])
    (warm,) = records(tmp_path / "run", "warm")
    assert len(warm["past"]) == 3
    launch.resume(str(tmp_path / "run"), quiet())


def test_a_budget_of_hours_counts_every_stretch() -> None:
    clock = iter([0.0, 0.0, 900.0, 900.0, 900.0, 1000.0, 2000.0])
    before = [{"event": "ended", "clock": 1800.0, "held": 1700.0}, {"event": "resumed"}]
    spent = Spent(Budget(hours=0.75), gpus=1.0, records=before, now=lambda: next(clock))
    spent.start(Task("a", "r0-f0"))
    assert spent.over() == "the budget of 0.75 hours is spent"


def test_what_is_journaled_without_a_clock_makes_no_stretch_shorter() -> None:
    """A configuration that is opened or dropped after the last epoch, which most kills follow."""
    told = {"event": "reported", "task": {"key": "a", "fold": "r0-f0"}, "clock": 1800.0, "held": 1700.0}
    stretch = [told, {"event": "opened", "config": "b"}]
    assert earlier([*stretch, {"event": "resumed"}, *stretch], gpus=0.5) == (3600.0, 0.5 * 1700.0)


@pytest.mark.parametrize(("gpus", "spent"), [(2.0, "1 GPU-hours"), (0.0, "1 hours")])
def test_of_two_budgets_the_one_that_is_spent_first_ends_the_search(gpus: float, spent: str) -> None:
    hours = [0.0, 0.0, *[0.4] * 2, *[0.6 if gpus else 1.1] * 2]
    clock = iter([3600.0 * hour for hour in hours])
    budget = Spent(Budget(hours=1.0, gpu_hours=1.0), gpus, now=lambda: next(clock))
    budget.start(Task("a", "r0-f0"))
    assert [budget.over(), budget.over()] == [None, f"the budget of {spent} is spent"]


def test_hours_of_gpus_are_those_that_each_fold_held_also_of_a_driver_that_was_killed() -> None:
    a, b = {"key": "a", "fold": "r0-f0"}, {"key": "b", "fold": "r0-f0"}
    hour = 3600.0
    before = [
        {"event": "started", "task": a},
        {"event": "reported", "task": a, "clock": hour, "held": hour, "gpus": 1.0},
        {"event": "ended", "task": a, "clock": 2 * hour, "held": 2 * hour, "gpus": 1.0},
        {"event": "started", "task": b},
        {"event": "reported", "task": b, "clock": 3 * hour, "held": hour, "gpus": 1.0},
        {"event": "resumed"},
        {"event": "started", "task": b},
        {"event": "reported", "task": b, "clock": hour, "held": hour, "gpus": 0.25},
        {"event": "resumed"},
    ]
    assert earlier(before, gpus=2.0) == (4 * hour, 3.25 * hour)
    clock = iter([0.0, 0.0, 0.5 * hour, *[8 * hour] * 2, *[9.4 * hour] * 2, *[9.5 * hour] * 2])
    spent = Spent(Budget(gpu_hours=4.25), gpus=0.5, records=before, now=lambda: next(clock))
    spent.start(Task("b", "r0-f0"))
    assert spent.end(Task("b", "r0-f0")) == {"clock": hour / 2, "held": hour / 2, "gpus": 0.5}
    assert spent.gpu_seconds == 3.5 * hour
    assert spent.over() is None  # nothing has run since
    spent.start(Task("b", "r0-f1"))
    assert [spent.over(), spent.over()] == [None, "the budget of 4.25 GPU-hours is spent"]


@pytest.mark.faults
def test_only_the_best_configurations_keep_their_checkpoints(one_worker: Path, tmp_path: Path) -> None:
    limits = {"workers": 1, "device": "cpu", "keep_configurations": 1}
    search(tmp_path / "run", resources=limits)
    assert LocalStorage(tmp_path / "run").list(RunPaths.checkpoints) == [picked(one_worker)]
    assert digits(tmp_path / "run") == digits(one_worker)


def test_a_ray_that_does_not_start_gets_a_second_chance_and_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def too_slow(**settings: Any) -> None:
        done.append("init")
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", too_slow)
    monkeypatch.setattr(ray, "shutdown", lambda: done.append("shutdown"))
    with pytest.raises(SonotuneError, match="Ray does not start on this machine"):
        search(tmp_path / "run")
    assert done == ["init", "shutdown"] * 2
    assert not (tmp_path / "run" / RunPaths.study).exists()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_where_nothing_answers_is_refused_at_once(address: str, tmp_path: Path) -> None:
    with pytest.raises(SonotuneError, match="nothing answers at --address"):
        launch.search(study_of(document(), "test"), str(tmp_path / "run"), quiet(), address)
    assert not (tmp_path / "run").exists()
