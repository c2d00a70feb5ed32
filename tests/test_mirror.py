"""The search as Optuna and its dashboard see it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.sampler.mirror import Mirror
from engine.storage import LocalStorage
from tests.sampled import BRANCHED, make, run_parallel, score


def mirrored(folder: Path, records: Sequence[dict], until: int | None = None) -> Mirror:
    mirror = Mirror(LocalStorage(folder), "phantoms", BRANCHED, ["maximize"], ["dice"])
    for at, record in enumerate(records[:until]):
        if record["event"] == "asked":
            mirror.opened(record["number"], record["params"], f"c{record['number']}", at=1e9 + at)
        else:
            mirror.scored(record["number"], 1, 0.4)
            mirror.ended(record["number"], record["state"], record["values"], at=1e9 + at)
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
    mirror.opened(before, records[0]["params"], "c", at=2e9)
    mirror.flush()
    assert len(study.trials) == before + 1


@pytest.mark.parametrize("cut", [0, 1, 57, 400, 2000])
def test_a_resumed_mirror_arrives_at_the_same_bytes(tmp_path: Path, records: list, cut: int) -> None:
    mirrored(tmp_path, records)
    whole = (tmp_path / "optuna.log").read_bytes()
    for left in (whole[:cut], whole + b'{"op_code":4}\n', b"something else entirely\n"):
        (tmp_path / "optuna.log").write_bytes(left)
        mirrored(tmp_path, records)
        assert (tmp_path / "optuna.log").read_bytes() == whole


def test_a_mirror_that_cannot_be_written_stops_nothing(tmp_path: Path, records: list) -> None:
    (tmp_path / "optuna.log").mkdir()
    mirror = mirrored(tmp_path, records)
    assert "could not be written" in str(mirror.warning)
    (tmp_path / "optuna.log").rmdir()
    mirror.flush()
    assert mirror.warning is None
    assert len(opened_by_optuna(tmp_path).trials) == 24
