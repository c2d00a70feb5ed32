"""Nested designs: the outer folds are trained last, each by its own pick, however often the driver dies."""

from pathlib import Path

import pytest
from test_conductor import finished, journal, play, score, study

from engine.conductor import Conductor
from engine.journal.journal import Journal
from engine.race.race import Race
from engine.sampler.sampler import Sampler
from engine.storage import LocalStorage
from engine.task import Task

INNER = ("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1")
OUTER = ("o0", "o1")


def nested(folder: Path, rule: str = "none", configs: int = 4) -> Conductor:
    spec = study("random", rule, configs)
    sampler = Sampler(spec.fixed.search, spec.space, 0)
    race = Race(spec.fixed.race, INNER, configs)
    return Conductor(spec, sampler, race, Journal(LocalStorage(folder)), finals=OUTER)


def inner_mean(one: Conductor, key: str, outer: str) -> float:
    configuration = one.entries[key].configuration
    return sum(score(configuration, Task(key, fold), 3) for fold in INNER if fold.startswith(outer))


@pytest.mark.parametrize("rule", ["none", "reserve"])
def test_each_outer_fold_is_trained_last_by_the_pick_of_its_own_inner_folds(
    tmp_path: Path, rule: str
) -> None:
    one = nested(tmp_path, rule)
    tasks = list(play(one))
    last = {task.fold: task.key for task in tasks[-2:]}
    assert tuple(last) == OUTER
    assert not any(task.fold in OUTER for task in tasks[:-2])
    for outer, key in last.items():
        whole = [other for other in one.entries if one.race.mean(other, outer) is not None]
        assert key == max(whole, key=lambda other: inner_mean(one, other, outer))
    assert one.done is not None


def test_a_run_killed_anywhere_trains_its_outer_folds_once(tmp_path: Path) -> None:
    list(play(nested(tmp_path / "whole", configs=2)))
    wanted = {task for task in finished(journal(tmp_path / "whole")) if task.fold in OUTER}
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(len(lines) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        before = finished(journal(folder))
        again = nested(folder, configs=2)
        again.replay(again.journal.records)
        again.resumed()
        now = set(play(again))
        assert not before & now
        assert {task for task in before | now if task.fold in OUTER} == wanted


def test_a_study_whose_budget_is_spent_leaves_its_outer_folds(tmp_path: Path) -> None:
    one = nested(tmp_path)
    for task in play(one):
        one.stop("enough")
        assert task.fold not in OUTER
    assert one.done == "enough"


def test_an_outer_fold_that_was_cut_off_is_handed_out_again(tmp_path: Path) -> None:
    one = nested(tmp_path, configs=1)
    for task in play(one):
        if task.fold == "o0":
            one.ended(task, "interrupted")
            break
    assert [task.fold for task in play(one)] == ["o0", "o1"]
