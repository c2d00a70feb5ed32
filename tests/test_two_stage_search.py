"""A search over two stages: no stage trained twice, blind first stages survived."""

import json
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from rich.console import Console

from engine.conductor import Conductor
from engine.data.cases import Pack
from engine.data.load import load
from engine.driver import launch
from engine.journal.journal import Journal
from engine.past import adopt, stored
from engine.race.race import Race
from engine.results import FoldResult, RunPaths, damaged_files, parquet_bytes, read_result, write_result
from engine.sampler.sampler import Sampler
from engine.spec.load import study_of
from engine.spec.study import FirstStage, Study
from engine.storage import LocalStorage
from engine.task import Task
from tests.played import resumed
from tests.run_folder import records
from tests.staged import (
    CLASSIFIER,
    SEGMENTER,
    configuration,
    document,
    first_of,
    job_of,
    run,
    study,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study().fixed.data, tmp_path_factory.mktemp("cache"))


SEARCH: dict[str, Any] = document(classify=CLASSIFIER | {"width": {"choice": [4, 6]}, "train": {
    "epochs": 1, "batch": 8, "lr": {"choice": [1e-3, 1e-2]}}}) | {
    "search": {"sampler": "grid", "configs": 3},
    "race": {"rule": "none"},
    "resources": {"workers": 2, "device": "cpu"},
}  # fmt: skip


def played(folder: Path, spec: Study, sound: Any) -> list[tuple[str, str]]:
    """Two workers, made-up scores; the stage and fold of each task in the order of their hands."""
    fixed = spec.fixed
    sampler = Sampler(fixed.search, spec.space, fixed.seed)
    race = Race(fixed.race, ("r0-f0", "r0-f1"), fixed.search.configs, fixed.seed)
    one = Conductor(spec, sampler, race, Journal(LocalStorage(folder)), sound=sound)
    resumed(one)
    handed = []
    while one.next() is not None:
        one.next()  # a second worker, if there is anything for it
        handed += [("segment" if t.key in one.stages else "main", t.fold) for t in one.running]
        for running in tuple(one.running):
            one.reported(running, 1, 0.5, [0.5])
            one.ended(running, "complete", 0.5, [0.5])
    return handed


def test_each_first_stage_is_handed_out_once_and_again_where_it_was_damaged(tmp_path: Path) -> None:
    two = study_of(SEARCH | {"search": {"sampler": "grid", "configs": 2}}, "test")
    handed = played(tmp_path, two, lambda task, stage: True)
    assert sorted(handed) == [("main", "r0-f0")] * 2 + [("main", "r0-f1")] * 2 + [
        ("segment", "r0-f0"), ("segment", "r0-f1")
    ]  # fmt: skip
    damaged = {"r0-f1"}

    def sound(task: Task, stage: FirstStage) -> bool:
        if task.fold in damaged:
            damaged.remove(task.fold)
            return False
        return True

    more = played(tmp_path, study_of(SEARCH, "test"), sound)
    assert sorted(more) == [("main", "r0-f0"), ("main", "r0-f1"), ("segment", "r0-f1")]
    assert {r["stage"] for r in records(tmp_path, "reported")} == {"segment", "main"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_trains_each_first_stage_once_also_on_resume_and_in_another_run(tmp_path: Path) -> None:
    """Also: a damaged one is trained again, with a warning, before anything builds on it."""
    quiet = Console(quiet=True)
    spec = study_of(SEARCH, "test")
    stage = first_of(spec.configuration(spec.space.base({})))
    one, two = tmp_path / "one", tmp_path / "two"
    launch.search(spec, str(one), quiet)
    assert started(one, stage.key) == {"r0-f0": 1, "r0-f1": 1}
    assert {r["prerequisite"] for r in records(one, "opened")} == {stage.key}
    assert [r["status"] for r in records(one, "ended")] == ["complete"] * 8
    launch.search(study_of(SEARCH | {"search": {"sampler": "grid", "configs": 1}}, "test"), str(two), quiet,
                  reuse=[str(one)])  # fmt: skip
    assert all(r.get("reused") for r in records(two, "ended"))
    storage, task = LocalStorage(two), Task(stage.key, "r0-f0")
    storage.write(f"{RunPaths.result(task)}/masks.npz", b"damaged")
    gone = one.rename(tmp_path / "elsewhere")  # else a resume would take the stage over from it once more
    launch.resume(str(two), quiet, changes={"search.configs": 4})
    assert started(two, stage.key, reused=False) == {"r0-f0": 1}
    assert "is damaged or gone; it is trained again" in (two / RunPaths.log).read_text()
    result = read_result(storage, task)
    assert result is not None
    assert damaged_files(storage, task, result.files) == []
    storage.write(f"{RunPaths.result(task)}/masks.npz", b"damaged after the end")
    launch.resume(str(two), quiet)
    assert started(two, stage.key, reused=False) == {"r0-f0": 2}
    result = read_result(storage, task)
    assert result is not None
    assert damaged_files(storage, task, result.files) == []
    reported(gone)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_sampler_searches_both_stages_and_trains_each_first_stage_once(tmp_path: Path) -> None:
    """TPE, past its random start: leaves of both stages vary, those of the first between few values."""
    segment = SEGMENTER | {"width": {"choice": [2, 4]}}
    classify = CLASSIFIER | {"train": {"epochs": 1, "batch": 8, "lr": {"loguniform": [1e-4, 1e-2]}}}
    space = document(segment=segment, classify=classify, feed={"choice": ["overlay", "channel"]}) | {
        "search": {"sampler": "tpe", "configs": 7, "startup": 3},
        "race": {"rule": "none"},
        "resources": {"workers": 1, "device": "cpu", "keep": "none"},
    }
    spec = study_of(space, "test")
    launch.search(spec, str(tmp_path), Console(quiet=True))
    asked = [record["params"] for record in records(tmp_path, "asked")]
    values = {leaf.removeprefix("model.two_stage."): {p[leaf] for p in asked} for leaf in asked[0]}
    assert {leaf: len(found) for leaf, found in values.items()} == {
        "segment.width": 2, "classify.train.lr": 7, "feed": 2
    }  # fmt: skip
    stages = {first_of(spec.configuration(params)).key for params in asked}
    ended = Counter(Task(**r["task"]).key for r in records(tmp_path, "ended") if r["status"] == "complete")
    opened = {r["config"]: r["prerequisite"] for r in records(tmp_path, "opened")}
    assert set(opened.values()) == stages
    assert ended == dict.fromkeys([*opened, *stages], 2)
    assert (len(opened), len(stages)) == (7, 2)


def started(folder: Path, key: str, reused: bool | None = None) -> dict[str, int]:
    found = [r for r in records(folder, "started") if r["task"]["key"] == key]
    kept = [r for r in found if reused is None or bool(r.get("reused")) == reused]
    return dict(Counter(r["task"]["fold"] for r in kept))


def reported(folder: Path) -> None:
    """A report reads such a run, and what was picked predicts as one model."""
    from engine.predict.ensemble import load_picked
    from reports.write import write

    write(str(folder))
    page = (folder / "report/index.html").read_text()
    assert "2 trainings of first stages served 6 folds of second stages: 4 trainings were saved." in page
    summary = json.loads((folder / "report/summary.json").read_text())
    assert [c["status"] for c in summary["configs"]] == ["complete"] * 3
    picked = load_picked(str(folder), "cpu")
    said = picked.ensemble(torch.rand(2, 1, 32, 32))
    assert said.masks is not None
    assert said.classes is not None
    assert (said.masks.shape, said.classes.shape) == ((2, 1, 32, 32), (2, 3))


@pytest.fixture(scope="module")
def first_stage(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Task, str]:
    folder = tmp_path_factory.mktemp("first")
    job = job_of(first_of(configuration()), pack)
    run(job, pack, folder)
    return folder, job.task, job.address


@pytest.mark.parametrize("lost", ["masks.npz", "result.json", "best.pt"])
def test_a_first_stage_counts_as_not_trained_where_a_part_of_it_is_lost(
    first_stage: tuple[Path, Task, str], tmp_path: Path, lost: str
) -> None:
    place, task, address = first_stage
    here, there = LocalStorage(tmp_path), LocalStorage(place)
    assert adopt(here, [there], task, address, network=True) is not None
    assert stored(here, task, address, network=True) is not None
    folder = RunPaths.checkpoint(task) if lost == "best.pt" else RunPaths.result(task)
    if lost == "best.pt":
        here.delete(f"{folder}/{lost}")
    else:
        here.write(f"{folder}/{lost}", here.read(f"{folder}/{lost}")[:-40])
    assert stored(here, task, address, network=True) is None


@pytest.mark.parametrize("network", [False, True])
def test_a_fold_that_diverged_at_once_is_taken_over_as_it_is(tmp_path: Path, network: bool) -> None:
    """A first stage as well: it has no network that could be asked for, and would only diverge again."""
    task, there = Task("abc", "r0-f0"), LocalStorage(tmp_path / "there")
    result = FoldResult("abc", "r0-f0", "diverged", {}, ("a", "b"), "address")
    write_result(there, task, result, {"epochs.parquet": parquet_bytes(pa.Table.from_pylist([]))})
    found = adopt(LocalStorage(tmp_path / "here"), [there], task, "address", network)
    assert found is not None
    assert (found.status, found.epochs) == ("diverged", [])


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_first_stages_that_find_nothing_fail_their_configurations_and_not_the_study(tmp_path: Path) -> None:
    from reports.write import write

    blind = deepcopy(SEARCH) | {"predict": {"threshold": 0.999}}
    blind["search"] = {"sampler": "random", "configs": 6}
    blind["model"]["two_stage"]["classify"]["train"]["lr"] = {"loguniform": [1e-4, 1e-2]}
    outcome = launch.search(study_of(blind, "test"), str(tmp_path), Console(quiet=True))
    assert outcome.failure is None
    ends = [r for r in records(tmp_path, "ended") if r["status"] != "complete"]
    assert Counter(r["status"] for r in ends) == {"failed": 12}
    assert all("found no lesion in any training case" in r["note"] for r in ends)
    page = Path(write(str(tmp_path))).read_text()
    assert "found no lesion in any training case" in page
