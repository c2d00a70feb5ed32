"""Checkpoints of first stages: bounded, and there as long as something kept builds on them."""

from pathlib import Path

from engine.conductor import Conductor
from engine.driver.disk import Keeper
from engine.journal.journal import Journal
from engine.race.race import Race
from engine.results import RunPaths
from engine.sampler.sampler import Sampler
from engine.spec.load import study_of
from engine.spec.study import Study
from engine.storage import LocalStorage
from tests.staged import (
    SEGMENTER,
    document,
    first_of,
)


def widths(count: int) -> Study:
    """As many configurations, each with a first stage of its own."""
    segment = SEGMENTER | {"width": {"choice": [2 * n for n in range(1, count + 1)]}}
    return study_of(document(segment=segment) | {
        "search": {"sampler": "grid", "configs": count}, "race": {"rule": "none"},
    }, "test")  # fmt: skip


def test_checkpoints_of_first_stages_are_bounded_and_those_in_use_stay(tmp_path: Path) -> None:
    """Six configurations, the later the better; two are kept, and beside theirs two idle first stages."""
    spec, storage = widths(6), LocalStorage(tmp_path)
    sampler = Sampler(spec.fixed.search, spec.space, 0)
    one = Conductor(spec, sampler, Race(spec.fixed.race, ("r0-f0", "r0-f1"), 6, 0), Journal(storage))
    keeper = Keeper(storage, one, 2)
    most = 0
    while (task := one.next()) is not None:
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        score = 0.1 * len(one.entries)
        one.reported(task, 1, score, [score])
        one.ended(task, "complete", score, [score])
        keeper.ended(task.key)
        most = max(most, len(set(storage.list(RunPaths.checkpoints)) & one.stages.keys()))
        kept = [first_of(one.entries[key].configuration).key for key in keeper.kept]
        assert set(kept) <= set(storage.list(RunPaths.checkpoints))
    keeper.sweep()
    left = set(storage.list(RunPaths.checkpoints))
    stages = [first_of(entry.configuration).key for entry in one.entries.values()]
    assert left & set(stages) == set(stages[-4:])
    assert left - set(stages) == set(list(one.entries)[-2:])
    assert most == 5  # and the one in training
    late = f"{RunPaths.checkpoints}/{stages[0]}"
    for again in (lambda: [keeper.ended(stages[0]), keeper.ended(next(iter(one.entries)))], keeper.sweep):
        storage.write(f"{late}/r0-f0/best.pt", b"trained again, as its masks were damaged")
        again()
        assert not storage.exists(late)


def test_a_session_that_goes_on_keeps_the_first_stages_of_what_an_earlier_one_kept(tmp_path: Path) -> None:
    """Six configurations, the earlier the better; what its best two build on was used long ago."""
    spec, storage = widths(6), LocalStorage(tmp_path)
    sampler = Sampler(spec.fixed.search, spec.space, 0)
    one = Conductor(spec, sampler, Race(spec.fixed.race, ("r0-f0", "r0-f1"), 6, 0), Journal(storage))
    keeper = Keeper(storage, one, 2)
    while (task := one.next()) is not None:
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        score = 1.0 - 0.1 * len(one.entries)
        one.reported(task, 1, score, [score])
        one.ended(task, "complete", score, [score])
        keeper.ended(task.key)
    keeper.sweep()
    kept = set(storage.list(RunPaths.checkpoints))
    best = list(one.entries)[:2]
    assert kept >= {*best, *(first_of(one.entries[key].configuration).key for key in best)}
    Keeper(storage, one, 2).ended(list(one.entries)[-1])
    assert set(storage.list(RunPaths.checkpoints)) == kept
