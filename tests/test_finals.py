"""Nested designs: the outer folds are trained last, each by its own pick, however often the driver dies."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from engine.conductor import Conductor
from engine.driver.disk import Keeper
from engine.driver.mend import completed
from engine.finals import Finals
from engine.journal.journal import Journal
from engine.race.events import Status
from engine.race.protocol import Stop
from engine.race.race import Race
from engine.results import RunPaths
from engine.sampler.sampler import Sampler
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.task import Task
from tests.played import cut_off, finished, journal, play, resumed, score

INNER = ("o0-r0-f0", "o0-r0-f1", "o1-r0-f0", "o1-r0-f1")
OUTER = ("o0", "o1")
RATIO = 0.25
PARAMETERS = (5.0, 9.0, 1.0, 3.0, 2.0, 8.0)  # of the configurations in turn


def nested(
    folder: Path, rule: str = "none", configs: int = 4, select: dict[str, Any] | None = None, **search: Any
) -> Conductor:
    spec = study_of(
        {
            "study": "nested",
            "train": {"lr": {"loguniform": [1e-4, 1e-1]}, "epochs": 3},
            "search": {"sampler": "random", "configs": configs, "startup": 2, **search},
            "race": {"rule": rule, "warmup": 1},
            "select": select or {},
        },
        "test",
    )
    sampler = Sampler(spec.fixed.search, spec.space, 0)
    several = len(spec.fixed.search.objectives)
    race = Race(spec.fixed.race, INNER, configs, objectives=several, pick=spec.fixed.select.rule)
    return Conductor(spec, sampler, race, Journal(LocalStorage(folder)), finals=Finals(OUTER, RATIO))


def inner(one: Conductor, key: str, outer: str) -> list[float]:
    configuration = one.entries[key].configuration
    return [score(configuration, Task(key, fold), 3) for fold in INNER if fold.startswith(outer)]


def whole(one: Conductor, outer: str) -> list[str]:
    return [other for other in one.entries if one.race.mean(other, outer) is not None]


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
        assert key == max(whole(one, outer), key=lambda other: fmean(inner(one, other, outer)))
    assert one.done is not None


def test_a_run_killed_anywhere_trains_its_outer_folds_once(tmp_path: Path) -> None:
    list(play(nested(tmp_path / "whole", configs=2)))
    wanted = {task for task in finished(journal(tmp_path / "whole")) if task.fold in OUTER}
    for folder in cut_off(tmp_path / "whole", tmp_path):
        before = finished(journal(folder))
        again = resumed(nested(folder, configs=2))
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


# -- the study's own rule ------------------------------------------------------------------------------


def measured(one: Conductor) -> Iterator[Task]:
    """As `play`, with scores that lie close together, and sizes."""
    while (task := one.next()) is not None:
        yield task
        number = list(one.entries).index(task.key)
        found = SCORES[number % len(SCORES)][task.fold[-1] == "1"] if task.fold in INNER else 0.5
        values = [found] if len(one.study.fixed.search.objectives) == 1 else [found, OTHER[number]]
        one.reported(task, 1, fmean(values), values)
        size = PARAMETERS[number] if task.fold in INNER else 99.0  # as measured on an outer fold: not read
        one.ended(task, "complete", fmean(values), values, figures={"parameters": size})


SCORES = ((0.80, 0.84), (0.79, 0.88), (0.805, 0.815), (0.60, 0.62), (0.81, 0.83), (0.5, 0.5))
OTHER = (0.2, 0.1, 0.9, 0.95, 0.3, 0.1)


def floor(scores: tuple[float, float]) -> float:
    return fmean(scores) - float(stdev(scores)) / 2**0.5


def bound(scores: tuple[float, float]) -> float:
    reach = 12.706204736 * stdev(scores) * (1 / 2 + RATIO) ** 0.5  # t(0.975, 1 degree)
    return float(fmean(scores) - reach)


def cheapest() -> int:
    """Within one standard error of the best mean, which is that of configuration 1."""
    within = [n for n, scores in enumerate(SCORES) if fmean(scores) >= floor(SCORES[1])]
    return min(within, key=lambda n: PARAMETERS[n])


@pytest.mark.parametrize(
    ("select", "search", "wanted"),
    [
        ({"rule": "best_mean"}, {}, 1),
        ({"rule": "one_se"}, {}, cheapest()),
        ({"rule": "one_se", "cost": "seconds"}, {}, 1),
        ({"rule": "lower_bound"}, {}, max(range(6), key=lambda n: bound(SCORES[n]))),
        ({"rule": "pareto"}, {"objective": ["dice", "f1_macro"]}, 2),
        ({"rule": "median_rank", "metrics": ["f1_macro"]}, {"objective": ["dice", "f1_macro"]}, 3),
        ({"rule": "median_rank"}, {}, 1),  # the search knows a weighted sum only
        ({"rule": "best_mean"}, {"constraints": {"parameters": 8.5}}, 0),
    ],
)
def test_the_outer_pick_follows_the_rule_of_the_study(
    tmp_path: Path, select: dict[str, Any], search: dict[str, Any], wanted: int
) -> None:
    one = nested(tmp_path, configs=6, select=select, **search)
    last = {task.fold: task.key for task in list(measured(one))[-2:]}
    assert last == dict.fromkeys(OUTER, list(one.entries)[wanted])


def test_a_run_killed_anywhere_picks_by_its_rule_all_the_same(tmp_path: Path) -> None:
    select, limits = {"rule": "one_se"}, {"constraints": {"parameters": 8.5}}
    list(measured(nested(tmp_path / "whole", configs=6, select=select, **limits)))
    wanted = {task for task in finished(journal(tmp_path / "whole")) if task.fold in OUTER}
    for folder in cut_off(tmp_path / "whole", tmp_path):
        again = resumed(nested(folder, configs=6, select=select, **limits))
        list(measured(again))
        assert {task for task in finished(journal(folder)) if task.fold in OUTER} == wanted


# -- what is kept of them ------------------------------------------------------------------------------


def uneven(number: int, fold: str) -> float:
    """The last configuration is the best of the first outer fold and far the worst of the second."""
    best, worst = (0.9, 0.1) if number == 5 else (0.5, 0.8)
    return {"o0": best, "o1": worst}[fold[:2]] + 0.02 * fold.endswith("1")


@pytest.mark.parametrize("rule", ["median", "reserve", "asha", "none"])
def test_an_outer_fold_keeps_its_progress_though_its_pick_is_out_in_another(
    tmp_path: Path, rule: str
) -> None:
    one, storage = nested(tmp_path, rule, configs=6), LocalStorage(tmp_path)
    keeper, cut = Keeper(storage, one, most=1), set()
    while (task := one.next()) is not None:
        number = list(one.entries).index(task.key)
        storage.write(f"{RunPaths.checkpoint(task)}/last.pt", b"weights")
        for ending, status in train(one, task, uneven(number, task.fold), number, cut):
            one.ended(ending, status, uneven(number, ending.fold), [0.5])
            keeper.ended(ending.key)
        if task in cut:
            keeper.sweep()
            assert storage.exists(f"{RunPaths.checkpoint(task)}/last.pt")
    one.close()
    assert {task.fold for task in cut} == set(OUTER)
    assert cut <= set(completed(one, journal(tmp_path)))


def train(one: Conductor, task: Task, found: float, number: int, cut: set[Task]) -> list[tuple[Task, Status]]:
    """What ends: an outer fold is cut off once, and in the second one the last configuration diverges."""
    if number == 5 and task.fold == "o1-r0-f0":
        return [(task, "diverged")]
    for epoch in (1, 2, 3):
        told = one.reported(task, epoch, found, [found])
        if told:
            return [(o, "stopped" if isinstance(v, Stop) else "frozen") for o, v in told.items()]
        if task.fold in OUTER and task not in cut:
            cut.add(task)
            return [(task, "interrupted")]
    return [(task, "complete")]


def test_what_diverged_in_one_outer_fold_has_no_size_in_another(tmp_path: Path) -> None:
    one = nested(tmp_path, configs=3, select={"rule": "one_se"}, constraints={"parameters": 8.0})
    last: dict[str, int] = {}
    while (task := one.next()) is not None:
        number = last[task.fold] = list(one.entries).index(task.key)
        found = 0.8 + number / 1000 + 0.05 * task.fold.endswith("1")
        one.reported(task, 1, found, [found])
        diverged = number == 2 and task.fold == "o1-r0-f1"
        size = {"parameters": 0.0 if diverged else (5.0, 1.0, 9.0)[number], "flops": 0.0, "latency_ms": 0.0}
        one.ended(task, "diverged" if diverged else "complete", found, [found], figures=size)
    assert [last[fold] for fold in OUTER] == [1, 1]
