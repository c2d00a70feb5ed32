"""The search as Optuna and its dashboard see it."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sampler.mirror import TIMES, Mirror
from engine.storage import LocalStorage
from tests.sampled import BRANCHED, make, run_parallel, score
from tests.test_journal import files_of_at_most


class Objects(LocalStorage):
    """To be written whole, as on an object store."""

    def local(self) -> None:
        return None


def mirrored(
    folder: Path, records: Sequence[dict], until: int | None = None, begun: float = 1e9, objects: bool = False
) -> Mirror:
    clock = itertools.count(begun, 1.5)
    storage = Objects(folder) if objects else LocalStorage(folder)
    mirror = Mirror(storage, "phantoms", BRANCHED, ["maximize"], ["dice"], lambda: next(clock))
    for record in records[:until]:
        if record["event"] == "asked":
            mirror.opened(record["number"], record["params"], f"c{record['number']}")
        else:
            mirror.scored(record["number"], 1, 0.4)
            mirror.ended(record["number"], record["state"], record["values"])
    mirror.flush()
    return mirror


def opened_by_optuna(folder: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    return optuna.load_study(study_name="phantoms", storage=storage)


@pytest.fixture
def records() -> list[dict]:
    return run_parallel(make("tpe", BRANCHED), 24, lambda p: [score(p)])


def test_optuna_reads_the_mirror_with_pruned_and_failed_and_running_trials(
    tmp_path: Path, records: list
) -> None:
    mirrored(tmp_path, records)
    study = opened_by_optuna(tmp_path)
    asked = [r for r in records if r["event"] == "asked"]
    told = {r["number"]: r for r in records if r["event"] == "told"}
    names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    assert study.metric_names == ["dice"]
    assert [t.params for t in study.trials] == [r["params"] for r in asked]
    for trial in study.trials:
        end = told.get(trial.number)
        assert trial.state.name == (names[end["state"]] if end else "RUNNING")
        assert trial.values == (end["values"] if end else None)
        assert trial.intermediate_values == ({1: 0.4} if end else {})
        assert trial.user_attrs["config_id"] == f"c{trial.number}"
    best = max(r["values"][0] for r in told.values() if r["state"] == "complete")
    assert study.best_value == best


def test_the_mirror_can_be_read_while_the_search_goes_on(tmp_path: Path, records: list) -> None:
    mirror = mirrored(tmp_path, records, until=10)
    study = opened_by_optuna(tmp_path)
    before = len(study.trials)
    mirror.opened(before, records[0]["params"], "c")
    mirror.flush()
    assert len(study.trials) == before + 1


@pytest.mark.parametrize("objects", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 57, 400, 2000])
def test_a_resumed_mirror_keeps_the_times_of_what_was_written(
    tmp_path: Path, records: list, cut: int, objects: bool
) -> None:
    mirrored(tmp_path, records, objects=objects)
    file = tmp_path / "optuna.log"
    whole = file.read_bytes()
    lines = whole.count(b"\n")
    left_by_lines = {
        whole[:cut]: whole[:cut].count(b"\n"),
        whole + b'{"op_code":4}\n': lines,
        whole + b"torn": lines,
        b"something else entirely\n": 0,
    }
    for left, kept in left_by_lines.items():
        file.write_bytes(left)
        mirrored(tmp_path, records, begun=2e9, objects=objects)
        now = file.read_bytes()
        assert now.splitlines()[:kept] == whole.splitlines()[:kept]
        assert TIMES.sub(b"", now) == TIMES.sub(b"", whole)
        assert b'"2001-' not in b"".join(now.splitlines()[kept:])
        assert len(opened_by_optuna(tmp_path).trials) == 24


def test_a_mirror_that_cannot_be_written_says_so_once_and_stops_nothing(
    tmp_path: Path, records: list, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "optuna.log").mkdir()
    mirror = mirrored(tmp_path, records)
    mirror.flush()
    assert [r.getMessage().split(",")[0] for r in caplog.records] == ["optuna.log could not be written"]
    (tmp_path / "optuna.log").rmdir()
    mirror.flush()
    assert len(opened_by_optuna(tmp_path).trials) == 24


def test_what_is_complete_without_a_value_shows_as_failed(tmp_path: Path, records: list) -> None:
    mirror = mirrored(tmp_path, records, until=1)
    mirror.ended(0, "complete", None)
    mirror.flush()
    assert opened_by_optuna(tmp_path).trials[0].state.name == "FAIL"


def test_an_entry_that_finds_no_room_is_cut_off_again_and_comes_later(tmp_path: Path, records: list) -> None:
    mirror = mirrored(tmp_path, records, until=1)
    whole = (tmp_path / "optuna.log").read_bytes()
    mirror.ended(0, "complete", [0.5])
    with files_of_at_most(len(whole) + 10):
        mirror.flush()
    assert (tmp_path / "optuna.log").read_bytes() == whole
    mirror.flush()
    assert opened_by_optuna(tmp_path).trials[0].state.name == "COMPLETE"


def test_what_lies_above_a_bound_is_no_best_trial(tmp_path: Path, records: list) -> None:
    mirror = mirrored(tmp_path, records, until=2)
    mirror.ended(0, "complete", [0.9], {"parameters": 0.5, "flops": -0.1})
    mirror.ended(1, "complete", [0.5], {"parameters": 0.0, "flops": -0.2})
    mirror.flush()
    study = opened_by_optuna(tmp_path)
    assert study.trials[0].constraints == {"parameters": 0.5, "flops": -0.1}
    assert study.best_trial.number == 1
