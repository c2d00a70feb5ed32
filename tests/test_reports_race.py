"""What the report says of the race: epochs, drops, stretches of training, and what all of it cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports import cost, racing, timeline
from reports.load import load
from reports.run import Run
from tests.runs import Plan, make_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", Plan(configs=9, dropped=2, cases=120, seed=4))


def test_the_race_counts_what_was_spent_and_saved(run_folder: Path) -> None:
    run = load(str(run_folder))
    begun, dropped = racing.cells(run), racing.drops(run)
    saved = racing.savings(run, begun, dropped, None)
    assert saved["epochs_planned"] == 9 * 3 * 6
    assert saved["epochs_spent"] == (7 * 3 + 2) * 6
    assert saved["dropped"] == 2
    assert [row["after_epochs"] for row in dropped] == [6, 6]


def test_a_wrong_drop_is_one_that_would_have_been_picked(run_folder: Path) -> None:
    run = load(str(run_folder))
    drops = [{"config_id": c.id, "audited": True} for c in run.complete[:3]]
    assert racing.savings(run, [], drops, run.complete[0].id)["wrong"] == 1
    assert racing.savings(run, [], drops, run.complete[5].id)["wrong"] == 0


def journal_of(run: Run, *records: dict[str, Any]) -> Run:
    return replace(run, journal=records)


def stretch(key: str, fold: str, clock: float, held: float, status: str = "complete") -> dict[str, Any]:
    task = {"key": key, "fold": fold}
    return {"event": "ended", "task": task, "status": status, "clock": clock, "held": held}


def test_stretches_lie_in_as_few_slots_as_can_have_run_them(run_folder: Path) -> None:
    """Two side by side for ten seconds, one of them frozen and taken up again after a resume."""
    run = journal_of(
        load(str(run_folder)), stretch("a", "r0-f0", 6, 6, "frozen"), stretch("b", "r0-f0", 10, 10),
        {"event": "resumed"}, stretch("a", "r0-f0", 5, 4),
    )  # fmt: skip
    lines = timeline.rows(run)
    found = [(row["slot"], row["config_id"], row["start"], row["end"]) for row in lines]
    assert found == [(1, "a", 0, 6), (1, "a", 11, 15), (2, "b", 0, 10)]
    assert [(row["busy"], row["idle"]) for row in timeline.idle(lines)] == [(10, 5), (10, 5)]


def test_hours_count_what_was_dropped_too(run_folder: Path) -> None:
    run = load(str(run_folder))
    dropped = next(c.id for c in run.configs if c.status == "dropped")
    run = journal_of(run, stretch(run.complete[0].id, "r0-f0", 3600, 3600),
                     stretch(dropped, "r0-f0", 5400, 1800, "stopped"))  # fmt: skip
    assert cost.totals(cost.hours(run, cost.rows(run))) == (
        "All training took 1.5 CPU-hours, 0.5 of them for configurations without all folds."
    )


def test_a_frozen_fold_of_a_dropped_configuration_shows_how_far_it_came(run_folder: Path) -> None:
    run = load(str(run_folder))
    dropped = next(c.id for c in run.configs if c.status == "dropped")
    task = {"task": {"key": dropped, "fold": "r0-f1"}}
    told: list[dict[str, Any]] = [{"event": "opened", "config": dropped, "epochs": 8}]
    for epoch in (1, 2):
        told.append({"event": "started"} | task)
        told.append({"event": "reported", "epoch": epoch, "score": epoch / 10} | task)
        told.append({"event": "ended", "status": "frozen"} | task)
    run = journal_of(run, *told, {"event": "dropped", "config": dropped})
    row = next(row for row in racing.cells(run) if row["fold"] == "r0-f1" and row["config_id"] == dropped)
    assert (row["epochs"], row["planned"], row["stretches"], racing.outcome(run, row)) == (2, 8, 2, "dropped")
    assert [(d["at_epoch"], d["after_epochs"]) for d in racing.drops(run)] == [(2, 2)]


def test_an_epoch_that_is_told_again_after_a_resume_was_trained_once(run_folder: Path) -> None:
    run = load(str(run_folder))
    told = [
        {"event": "reported", "epoch": epoch, "score": 0.1, "task": {"key": "a", "fold": fold}}
        for fold, epoch in (("r0-f0", 1), ("r0-f0", 2), ("r0-f1", 1), ("r0-f0", 2), ("r0-f0", 3))
    ]
    (found,) = racing.drops(journal_of(run, *told, {"event": "dropped", "config": "a"}))
    assert (found["at_epoch"], found["after_epochs"], found["after_folds"]) == (4, 4, 2)


def test_training_on_outer_folds_is_no_part_of_the_race(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=2, folds=2, outer=2, cases=80))))
    final = {"event": "started", "task": {"key": run.complete[0].id, "fold": "o0"}}
    assert racing.cells(replace(run, journal=(*run.journal, final))) == racing.cells(run)
    assert {row["fold"] for row in racing.cells(run)} == set(run.folds)
