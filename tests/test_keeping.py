"""Which checkpoints stay on the disk while several workers write them."""

from pathlib import Path

from engine.driver.disk import Keeper
from engine.results import RunPaths
from engine.storage import LocalStorage
from tests.test_conductor import FOLDS, conductor, study
from tests.test_proposals import all_in_hand


def test_no_checkpoint_is_deleted_under_a_fold_that_is_trained(tmp_path: Path) -> None:
    """A configuration that has failed goes when the last of its folds has left its worker."""
    one, storage = conductor(tmp_path, study(configs=1)), LocalStorage(tmp_path)
    keeper, tasks = Keeper(storage, one, most=10), all_in_hand(one)
    assert len(tasks) == len(FOLDS)
    for task in tasks:
        storage.write(f"{RunPaths.checkpoint(task)}/last.pt", b"weights")
    left = []
    for task, status in zip(tasks, ("failed", "complete", "complete"), strict=True):
        one.ended(task, status, 0.5, [0.5])
        keeper.ended(task.key)
        left.append(storage.exists(f"{RunPaths.checkpoint(tasks[-1])}/last.pt"))
    assert left == [True, True, False]


def test_the_best_by_mean_stay_and_no_more_than_were_asked_for(tmp_path: Path) -> None:
    one, storage = conductor(tmp_path, study(configs=4)), LocalStorage(tmp_path)
    keeper, tasks = Keeper(storage, one, most=2), all_in_hand(one)
    means = dict(zip(one.entries, (0.3, 0.9, 0.1, 0.6), strict=True))
    for task in tasks:
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        one.ended(task, "complete", means[task.key], [means[task.key]])
        keeper.ended(task.key)
        assert len(keeper.kept) <= 2
    best = sorted(means, key=lambda key: means[key])[-2:]
    assert sorted(storage.list(RunPaths.checkpoints)) == sorted(best)
