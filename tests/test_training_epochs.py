"""What an epoch is scored by, which of them is the best, and what of them outlives a cut."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.data.preprocess import prepare
from engine.results import RunPaths
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.training import checkpoint
from engine.training.epochs import Diverged, FoldRun
from engine.training.job import Job
from engine.training.run_task import train_task
from tests.one_fold import DOCUMENT, STILL, digits, job_of, run, table
from tests.trained import advance

torch.set_num_threads(1)
NOTHING_LEARNED = 1e-12  # as a learning rate


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def trained(job: Job, pack: Pack, folder: Path) -> FoldRun:
    """As far as its last epoch."""
    fold = FoldRun(job, pack, LocalStorage(folder))
    while fold.epoch < fold.train.epochs:
        fold.next_epoch()
    return fold


def test_of_equal_epochs_the_first_is_the_best_and_the_rate_falls(pack: Pack, tmp_path: Path) -> None:
    fold = trained(job_of(pack, sections=STILL, lr=NOTHING_LEARNED), pack, tmp_path)
    assert {row["score"] for row in fold.rows} == {fold.best}
    assert fold.best_epoch == 1
    rates = [row["lr"] / NOTHING_LEARNED for row in fold.rows]
    assert rates == pytest.approx([1, 1, 0.1, 0.01])


def test_a_score_below_nothing_is_one(pack: Pack, tmp_path: Path) -> None:
    """As of figures of which less is better."""
    fold = trained(replace(job_of(pack, epochs=2), objective=({"brier": -1.0},)), pack, tmp_path)
    scores = [row["score"] for row in fold.rows]
    assert fold.best == max(scores) < 0
    assert fold.best_epoch == 1 + scores.index(max(scores))


def test_what_refines_is_scored_by_what_it_refined(pack: Pack, tmp_path: Path) -> None:
    """No mask is drawn, so that every class is refined to normal."""
    job = job_of(pack, sections={"predict": {"refine": True, "threshold": 0.99}}, epochs=1)
    (row,) = trained(job, pack, tmp_path).rows
    raw, refined = (
        (row[f"validation_{name}dice"] + row[f"validation_{name}f1_macro"]) / 2 for name in ("", "refined_")
    )
    assert row["score"] == pytest.approx(refined)
    assert raw != pytest.approx(refined)


def test_a_mask_is_what_lies_above_the_studys_own_threshold(pack: Pack, tmp_path: Path) -> None:
    drawn = []
    for threshold in (0.01, 0.99):
        job = job_of(pack, sections={"predict": {"threshold": threshold}})
        fold = FoldRun(job, pack, LocalStorage(tmp_path))
        cases = fold.table(fold.outputs(fold.parts.validation), surface=False)
        drawn.append(sum(sum(cases[name].to_pylist()) for name in ("tp", "fp")))
    assert drawn == [len(fold.parts.validation) * 32 * 32, 0]


def test_what_normalises_a_data_set_is_measured_on_the_training_part(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, sections={"preprocess": {"normalise": "dataset"}})
    fold = FoldRun(job, pack, LocalStorage(tmp_path))
    measured = prepare(pack.images, job.configuration.preprocess, fold.parts.train)
    assert np.array_equal(fold.images, measured)


def test_a_loss_of_an_epoch_is_the_mean_over_its_steps(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, sections=STILL, lr=NOTHING_LEARNED, batch=4)
    job = replace(job, fold=replace(job.fold, train=job.fold.train[:12]))
    fold = FoldRun(job, pack, LocalStorage(tmp_path))
    row = fold.next_epoch()
    assert row["train_mask"] == pytest.approx(fold.outputs(fold.parts.train, pack).losses["mask"], rel=1e-4)


def test_a_rate_counts_images_and_the_time_of_training_alone(pack: Pack, tmp_path: Path) -> None:
    fold = FoldRun(job_of(pack), pack, LocalStorage(tmp_path))
    row = fold.next_epoch()
    seconds = len(fold.parts.train) / row["images_per_second"]
    assert 0 < seconds < row["seconds"]


def test_a_single_answer_that_is_no_number_ends_the_fold(pack: Pack, tmp_path: Path) -> None:
    fold = FoldRun(job_of(pack), pack, LocalStorage(tmp_path))
    fold.images = fold.images.copy()
    fold.images[fold.parts.validation[1]] = np.nan
    with pytest.raises(Diverged, match=f"not numbers for 1 of {len(fold.parts.validation)} cases"):
        fold.outputs(fold.parts.validation)


@pytest.mark.parametrize(("parts", "most"), [(1, 32), (2, 16), (64, 1)])
def test_after_memory_ran_out_fewer_images_are_looked_at_at_a_time(
    pack: Pack, tmp_path: Path, parts: int, most: int
) -> None:
    fold = FoldRun(replace(job_of(pack), parts=parts), pack, LocalStorage(tmp_path))
    seen: list[int] = []
    fold.network.model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    fold.outputs(np.arange(40))
    assert (max(seen), sum(seen)) == (most, 40)


def test_a_result_tells_into_how_many_parts_its_batches_had_to_go(pack: Pack, tmp_path: Path) -> None:
    """Of eight images there are eight parts at most."""
    job = job_of(pack, epochs=2)
    run(job, pack, tmp_path, epochs=1)
    result = run(replace(job, parts=64), pack, tmp_path)
    assert result is not None
    assert result.micro_batches == 8
    assert "in 8 parts, not in 1" in result.warnings[-1]


def test_weights_that_follow_the_losses_go_on_with_them_after_a_cut(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, sections={"loss": {"weighting": "dwa"}})
    whole = [row["train_weight_segmentation"] for row in trained(job, pack, tmp_path / "whole").rows]
    run(job, pack, tmp_path / "cut", epochs=2)
    cut = [row["train_weight_segmentation"] for row in trained(job, pack, tmp_path / "cut").rows]
    assert whole[0] == whole[1] != whole[2] != whole[3]
    assert cut == whole


@pytest.mark.parametrize(
    "loss", [{"weighting": "dwa"}, {"weighting": "scheduled", "schedule": {"to": 0.2, "epochs": 2}}]
)
def test_an_epoch_is_validated_with_the_weights_it_was_trained_with(
    pack: Pack, tmp_path: Path, loss: dict[str, Any]
) -> None:
    """Both losses of a row are then of one kind, and a gap between them means something."""
    fold = trained(job_of(pack, sections={"loss": loss}), pack, tmp_path)
    weights = [row["train_weight_segmentation"] for row in fold.rows]
    assert [row["validation_weight_segmentation_loss"] for row in fold.rows] == pytest.approx(weights)
    assert len(set(weights)) > 2


def test_a_fold_that_is_cut_off_after_its_last_epoch_keeps_its_values_and_its_time(
    pack: Pack, tmp_path: Path
) -> None:
    job = job_of(pack, epochs=2)
    run(job, pack, tmp_path, epochs=2)
    result = run(job, pack, tmp_path)
    assert result is not None
    rows = table(job, tmp_path, "epochs").to_pylist()
    assert result.values == rows[result.best_epoch - 1]["values"]
    assert result.seconds == pytest.approx(sum(row["seconds"] for row in rows))


def test_a_path_of_the_losses_weights_is_walked_epoch_by_epoch(pack: Pack, tmp_path: Path) -> None:
    path = {"lambda": 0.8, "weighting": "scheduled", "schedule": {"to": 0.2, "epochs": 2}}
    fold = trained(job_of(pack, sections={"loss": path}, epochs=3), pack, tmp_path)
    assert [row["train_weight_segmentation"] for row in fold.rows] == pytest.approx([0.8, 0.5, 0.2])


class Killed(Exception):
    """In the place of a signal."""


class CutOff(LocalStorage):
    """Whoever writes to it is gone between the first checkpoint of an epoch and the second."""

    def write(self, path: str, data: bytes) -> None:
        if self.list(str(Path(path).parent)):
            raise Killed
        super().write(path, data)


def ended(job: Job, pack: Pack, folder: Path) -> None:
    advance(train_task(job, pack, LocalStorage(folder)))


def test_a_fold_that_is_cut_off_between_its_checkpoints_has_lost_no_best_epoch(
    pack: Pack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(pack, epochs=1)
    with pytest.raises(Killed):
        advance(train_task(job, pack, CutOff(tmp_path)))
    with caplog.at_level(logging.WARNING):
        ended(job, pack, tmp_path)
    assert not caplog.messages


def test_a_fold_whose_best_epoch_is_lost_is_trained_again_from_its_start(
    pack: Pack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In its place lies another epoch's network."""
    job = job_of(pack, epochs=1)
    ended(job, pack, tmp_path / "whole")
    run(job, pack, tmp_path / "cut", epochs=1)
    storage, best = LocalStorage(tmp_path / "cut"), f"{RunPaths.checkpoint(job.task)}/best.pt"
    state = checkpoint.load(storage, best, "cpu")
    assert state is not None
    checkpoint.save(storage, best, state | {"epoch": 2})
    ended(job, pack, tmp_path / "cut")
    assert "is lost; its fold starts afresh" in caplog.text
    assert digits(job, tmp_path / "cut") == digits(job, tmp_path / "whole")
