"""What a person is told while a search runs."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.driver.launch import RunLog
from engine.driver.live import View
from engine.race.events import Ended, Opened, Started
from engine.race.race import Race
from engine.spec.race import Race as Settings
from engine.task import Task
from tests.faulty import wait_until

FOLDS = ("r0-f0", "r0-f1")


def view_of(
    scores: dict[Task, float], configs: int = 3, folds: tuple[str, ...] = FOLDS, width: int = 100
) -> tuple[View, Any]:
    """On a race that already knows these folds, as after a resume or with --reuse."""
    race = Race(Settings(rule="none"), folds, configs)
    entries = dict.fromkeys(task.key for task in scores)
    for key in entries:
        race.apply(Opened(key, 3, 0.0))
    for task, score in scores.items():
        race.apply(Started(task))
        race.apply(Ended(task, "complete", score, (score,)))
    study = SimpleNamespace(fixed=SimpleNamespace(search=SimpleNamespace(configs=configs)))
    conductor: Any = SimpleNamespace(race=race, entries=entries, running={}, study=study)
    return View(conductor, folds, lambda: 2, Console(file=io.StringIO(), width=width)), race


def test_folds_from_before_a_resume_count_as_they_did_then() -> None:
    view, _ = view_of({Task("a", "r0-f0"): 0.5, Task("a", "r0-f1"): 0.7, Task("b", "r0-f0"): 0.9})
    assert "best 0.6000 (a)" in view.headline()
    view.console.print(view.render())
    shown = view.console.file.getvalue()  # type: ignore[attr-defined]
    assert all(figure in shown for figure in ("0.500", "0.700", "0.900"))


def test_the_time_left_is_that_of_the_folds_left() -> None:
    view, race = view_of({Task("a", "r0-f0"): 0.5, Task("a", "r0-f1"): 0.7, Task("b", "r0-f0"): 0.9})
    race.apply(Started(Task("b", "r0-f1")))
    race.apply(Ended(Task("b", "r0-f1"), "complete", 0.9, (0.9,)))
    view.end(Task("b", "r0-f1"), "complete", 0.9)
    assert view._left(60.0) == " · at most 2.0 min left"


def test_nobody_waits_for_what_was_dropped_and_its_row_says_so() -> None:
    scores = {
        Task("a", "r0-f0"): 0.5,
        Task("a", "r0-f1"): 0.7,
        Task("b", "r0-f0"): 0.2,
        Task("c", "r0-f0"): 0.3,
    }
    view, race = view_of(scores)
    view.trained = 4
    (heat,) = race.field.heats.values()
    heat.drop(race.field.rows["b"], audited=False)
    assert view._left(60.0) == " · at most 0.2 min left"
    heat.drop(race.field.rows["c"], audited=True)
    assert view._left(60.0) == " · at most 0.2 min left"
    ends = [line.split()[-1] for line in shown(view).splitlines() if line.startswith(("b ", "c "))]
    assert ends == ["dropped", "·"]


def test_nobody_waits_for_what_failed() -> None:
    view, race = view_of({Task("a", "r0-f0"): 0.5}, configs=1)
    race.apply(Started(Task("a", "r0-f1")))
    race.apply(Ended(Task("a", "r0-f1"), "failed", None, ()))
    view.trained = 1
    assert view._left(60.0) == ""


def shown(view: View) -> str:
    view.console.print(view.render())
    return view.console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_more_folds_than_a_terminal_has_room_for_are_counted_and_no_figure_is_cut() -> None:
    folds = tuple(f"r{repeat}-f{fold}" for repeat in range(3) for fold in range(5))
    scores = dict.fromkeys((Task("66394ccb25", fold) for fold in folds), 0.5)
    view, _ = view_of(scores | {Task("a98668c74e", folds[0]): 0.6}, folds=folds, width=80)
    running = [Task("a98668c74e", fold) for fold in folds[1:3]]
    view.conductor.running.update(dict.fromkeys(running))
    view.epoch(running[0], {"epoch": 12, "best": 0.7})
    text = shown(view)
    for told in ("66394ccb25", "15/15", "0.5000", "a98668c74e", "1/15", "r0-f1 12·0.700, r0-f2 ·"):
        assert told in text
    assert "…" not in text


def test_what_fits_has_a_column_per_fold() -> None:
    view, _ = view_of({Task("66394ccb25", fold): 0.5 for fold in FOLDS}, width=60)
    assert "r0-f0" in shown(view)


def test_the_headline_stays_in_sight_on_a_low_terminal() -> None:
    view, _ = view_of({Task(f"c{number}", "r0-f0"): 0.5 for number in range(12)}, configs=12)
    view.console.size = (100, 9)  # type: ignore[assignment]
    assert shown(view).count("\n") <= 9


def test_a_first_stage_is_told_as_one() -> None:
    view, _ = view_of({Task("a", "r0-f0"): 0.5})
    view.conductor.running[Task("3be8b432e8", "r0-f0")] = None  # type: ignore[assignment]
    assert "stage 3be8b432e8" in shown(view)
    view.end(Task("3be8b432e8", "r0-f0"), "complete", 0.3)
    assert "stage 3be8b432e8/r0-f0 complete 0.3000   0 folds" in view.console.file.getvalue()  # type: ignore[attr-defined]


def test_long_searches_tell_hours() -> None:
    view, _ = view_of({Task("a", "r0-f0"): 0.5})
    view.trained = 1
    assert view._left(36_000.0) == " · at most 50.0 h left"


def test_a_log_without_room_fails_neither_when_written_nor_when_closed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = RunLog("/dev/full")
    log.handle(logging.makeLogRecord({"msg": "stopped: no space left on device"}))
    log.close()
    assert log.stream is None
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_opened_stops_no_study(tmp_path: Path) -> None:
    log = RunLog(tmp_path, delay=True)
    log.handle(logging.makeLogRecord({"msg": "a fold was lost"}))
    log.close()
    assert log.stream is None


@pytest.mark.faults
def test_what_ray_tells_of_its_nodes_goes_to_the_log_and_not_to_the_screen(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import ray._private.worker as ray_worker
    from ray._private.utils import publish_error_to_driver

    from engine.driver.cluster import connected, log

    handler = logging.FileHandler(tmp_path / "run.log")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with connected(None, 1):
            publish_error_to_driver("test", "a node is gone", ray_worker.global_worker.gcs_client)
            wait_until(lambda: "Ray: a node is gone" in (tmp_path / "run.log").read_text(), 20)
    finally:
        log.removeHandler(handler)
        handler.close()
    assert "a node is gone" not in "".join(capfd.readouterr())
