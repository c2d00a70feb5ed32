"""Each proposal of the sampler hears once, and what was measured counts as its slowest fold."""

from pathlib import Path
from typing import Any

import pytest

from engine.conductor import Conductor
from engine.errors import SonotuneError
from engine.finals import pick
from engine.sampler.mirror import Mirror
from engine.spec.load import study_of
from engine.storage import LocalStorage
from tests.test_conductor import FOLDS, conductor, study

FEW: dict[str, Any] = {
    "study": "few",
    "model": {"width": {"choice": [4, 8]}},
    "train": {"epochs": 1},
    "race": {"rule": "none"},
}


def all_in_hand(one: Conductor) -> list[Any]:
    tasks = []
    while (task := one.next()) is not None:
        tasks.append(task)
    return tasks


def test_each_proposal_of_a_configuration_hears_of_it_once(tmp_path: Path) -> None:
    """Also those that came while it was trained, and those that come when it is over."""
    search = {"sampler": "tpe", "configs": 50, "startup": 2}
    one = conductor(tmp_path, study_of(FEW | {"search": search}, "test"))
    tasks = all_in_hand(one)
    assert len(tasks) == 2 * len(FOLDS)
    first, second = one.entries.values()
    one.proposals.enter(late := one.proposals.sampler.ask_again(first.params).number, first.params)
    for task in tasks:
        one.ended(task, "complete", 0.5, [0.5])
    one.proposals.enter(later := one.proposals.sampler.ask_again(first.params).number, first.params)
    assert first.numbers[-2:] == [late, later]
    for entry in (first, second):
        assert entry.told == len(entry.numbers)
        for number in entry.numbers:
            with pytest.raises(SonotuneError, match="told twice"):
                one.proposals.sampler.tell(number, [0.5], "complete")


def test_the_slowest_fold_tells_whether_a_configuration_keeps_its_bound(tmp_path: Path) -> None:
    one = conductor(tmp_path, study(configs=2, constraints={"latency_ms": 10.0}))
    tasks = all_in_hand(one)
    fast, slow = one.entries
    for task in tasks:
        times = {fast: (9.0, 10.0, 8.0), slow: (9.0, 10.5, 8.0)}[task.key]
        score = 0.9 if task.key == slow else 0.5
        figures = {"latency_ms": times[FOLDS.index(task.fold)], "parameters": 1.0}
        one.ended(task, "complete", score, [score], figures=figures)
    assert [one.proposals.fits(key) for key in (fast, slow)] == [True, False]
    assert one.proposals.entries[slow].figures["latency_ms"] == 10.5
    assert pick(one.proposals, None, 0.0) == fast


def test_a_lower_bound_is_as_wide_as_the_validation_parts_are_large(tmp_path: Path) -> None:
    """Folds share their training cases: the more of them validate, the less sure is their mean."""
    document = study(configs=2).document | {"select": {"rule": "lower_bound"}}
    one = conductor(tmp_path, study_of(document, "test"))
    tasks = all_in_hand(one)
    bold, steady = one.entries
    for task in tasks:
        scores = {bold: (0.64, 0.66, 0.65), steady: (0.6, 0.6, 0.6)}[task.key]
        score = scores[FOLDS.index(task.fold)]
        one.ended(task, "complete", score, [score])
    assert [pick(one.proposals, None, ratio) for ratio in (0.0, 9.0)] == [bold, steady]


def test_a_dashboard_draws_means_so_far_as_they_are_measured(tmp_path: Path) -> None:
    """The race holds an error as its negative."""
    spec = study(configs=1, objective="hd95")
    mirror = Mirror(LocalStorage(tmp_path), "few", spec.space, spec.fixed.search.directions)
    drawn: list[tuple[int, int, float]] = []
    mirror.scored = lambda *told: drawn.append(told)  # type: ignore[method-assign]
    one = conductor(tmp_path, spec)
    one.proposals.mirror = mirror
    for task, error in zip(all_in_hand(one), (4.0, 2.0, 6.0), strict=True):
        one.ended(task, "complete", -error, [-error])
    assert drawn == [(0, 1, 4.0), (0, 2, 3.0), (0, 3, 4.0)]
