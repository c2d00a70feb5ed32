"""What was trained before is taken over only where it is sound, finished and of the very same address."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine.past import adopt, intact, stored
from engine.results import FoldResult, RunPaths, parquet_bytes, read_result, write_result
from engine.storage import LocalStorage
from engine.task import Task

TASK = Task("a", "r0-f0")
EPOCHS = ({"score": 0.25, "values": [0.25, 0.5]}, {"score": 0.5, "values": [0.75, 0.25]})
DONE = FoldResult(
    "a", "r0-f0", "complete", {}, ("x", "y"), "address", score=0.5, values=(0.75, 0.25),
    parameters=7, flops=9, latency_ms=3.0, seconds=11.0, peak_memory_mb=13.0,
)  # fmt: skip


def run_at(place: Path, network: bool = True, **changes: Any) -> LocalStorage:
    storage = LocalStorage(place)
    if network:
        storage.write(f"{RunPaths.checkpoint(TASK)}/best.pt", place.name.encode())
    rows: tuple[Mapping[str, Any], ...] = () if changes.get("epochs") == 0 else EPOCHS
    files = {"epochs.parquet": parquet_bytes(pa.Table.from_pylist(list(rows))), "cases.parquet": b"cases"}
    write_result(storage, TASK, replace(DONE, **changes), files)
    return storage


def test_a_result_of_another_run_is_copied_whole_with_its_network(tmp_path: Path) -> None:
    here, there = LocalStorage(tmp_path / "here"), run_at(tmp_path / "there")
    found = adopt(here, [run_at(tmp_path / "foreign", address="another"), there], TASK, "address")
    assert found is not None
    assert found.epochs == [(0.25, (0.25, 0.5)), (0.5, (0.75, 0.25))]
    assert (found.status, found.score, found.values) == ("complete", 0.5, (0.75, 0.25))
    assert found.figures["latency_ms"] == 3.0
    assert read_result(here, TASK) == read_result(there, TASK)
    assert intact(here, TASK, "address")
    assert here.read(f"{RunPaths.checkpoint(TASK)}/best.pt") == b"there"


def test_what_this_run_has_trained_itself_comes_before_what_others_have(tmp_path: Path) -> None:
    here, there = run_at(tmp_path / "here", score=0.25), run_at(tmp_path / "there")
    found = adopt(here, [there], TASK, "address")
    assert found is not None
    assert found.score == 0.25
    assert here.read(f"{RunPaths.checkpoint(TASK)}/best.pt") == b"here"


def test_a_result_that_is_damaged_here_is_taken_from_where_it_is_whole(tmp_path: Path) -> None:
    here, there = run_at(tmp_path / "here"), run_at(tmp_path / "there")
    here.write(f"{RunPaths.result(TASK)}/cases.parquet", b"cut")
    assert stored(here, TASK, "address") is None
    assert not intact(here, TASK, "address")
    assert adopt(here, [], TASK, "address") is None
    assert adopt(here, [there], TASK, "address") is not None
    assert intact(here, TASK, "address")


@pytest.mark.parametrize(
    ("changes", "address"), [({"status": "failed"}, "address"), ({}, "another")], ids=["failed", "address"]
)
def test_what_failed_or_was_trained_otherwise_counts_as_not_trained(
    changes: dict[str, Any], address: str, tmp_path: Path
) -> None:
    there = run_at(tmp_path, **changes)
    assert stored(there, TASK, address) is None
    assert not intact(there, TASK, address)


def test_a_network_that_somebody_builds_on_must_be_there(tmp_path: Path) -> None:
    bare = run_at(tmp_path / "bare", network=False)
    assert stored(bare, TASK, "address") is not None
    assert stored(bare, TASK, "address", network=True) is None
    assert stored(run_at(tmp_path / "whole"), TASK, "address", network=True) is not None


def test_what_diverged_has_neither_a_network_nor_a_size(tmp_path: Path) -> None:
    there = run_at(tmp_path / "there", network=False, status="diverged", score=None, values=(), epochs=0)
    found = adopt(LocalStorage(tmp_path / "here"), [there], TASK, "address", network=True)
    assert found is not None
    assert (found.status, found.epochs, found.score, found.figures) == ("diverged", [], None, {})
