"""Segment, then classify what was segmented: no leak between the stages, and no stage trained twice."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.data.cases import Pack
from engine.data.load import load
from engine.errors import SonotuneError
from engine.folds.inner import inner_parts
from engine.folds.make import make_folds
from engine.models import registry
from engine.models.contract import Prediction
from engine.models.row import SEGMENT, Row
from engine.results import RunPaths, read_result
from engine.spec.folds import Folds
from engine.spec.load import study_of
from engine.spec.study import Configuration
from engine.storage import LocalStorage
from engine.task import Task
from engine.training import checkpoint
from engine.training.epochs import FoldRun
from engine.training.job import Job, Parts
from engine.training.masks import quantised, read_masks, restored
from engine.training.prepared import prepared
from engine.training.run_task import train_task
from engine.training.segmenters import parts_of
from tests.staged import (
    CLASSIFIER,
    both,
    configuration,
    document,
    first_of,
    job_of,
    rows_of,
    run,
    study,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study().fixed.data, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job, Job]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, *both(folder, pack)


def test_one_network_keeps_the_name_it_had_before_there_were_two() -> None:
    assert Configuration().config_id == "2370d78c57"
    assert "two_stage" not in Configuration().record()["model"]


# -- no leak ---------------------------------------------------------------------------------------


def test_inner_folds_share_the_training_cases_out_by_class_and_group(pack: Pack) -> None:
    folds = study().fixed.folds
    fold = make_folds(pack, folds).folds[0]
    parts = inner_parts(pack, folds, fold, 3)
    assert sorted(case for part in parts for case in part) == sorted(fold.train)
    label = dict(zip(pack.cases, pack.labels.tolist(), strict=True))
    counts = [Counter(label[case] for case in part) for part in parts]
    assert all(max(c[k] for c in counts) - min(c[k] for c in counts) <= 1 for k in range(len(pack.classes)))


def test_inner_folds_keep_what_belongs_together_in_one_part(pack: Pack) -> None:
    """Two cases of a class to a patient."""
    patients = [""] * len(pack)
    for label in range(len(pack.classes)):
        for number, row in enumerate(np.flatnonzero(pack.labels == label)):
            patients[row] = f"{label}-{number // 2}"
    paired, folds = replace(pack, patients=tuple(patients)), Folds(k=2, group_by="patient")
    patient = dict(zip(paired.cases, patients, strict=True))
    for fold in make_folds(paired, folds).folds:
        parts = [{patient[case] for case in part} for part in inner_parts(paired, folds, fold, 2)]
        assert parts[0].isdisjoint(parts[1])
        assert parts[0] | parts[1] == {patient[case] for case in fold.train}


def test_each_segmenter_chooses_its_epoch_on_the_outer_validation_part_and_draws_what_it_has_not_seen(
    pack: Pack,
) -> None:
    stage = first_of(configuration())
    job = job_of(stage, pack)
    *inner, whole = [part.fold for part in parts_of(job, stage)]
    assert {fold.validation for fold in (*inner, whole)} == {job.fold.validation}
    assert sorted(case for fold in inner for case in fold.test) == sorted(job.fold.train)
    for fold in inner:
        assert {*fold.train} == {*job.fold.train} - {*fold.test}
    assert (whole.train, whole.test) == (job.fold.train, job.fold.test)


class Memoriser(nn.Module):
    """Draws the class of every image it was trained on, and an idle square in all others."""

    truth: ClassVar[dict[float, int]] = {}
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros(4096))

    def forward(self, x: Tensor) -> Prediction:
        masks = torch.full((len(x), 1, *x.shape[2:]), -9.0)
        for image, mask in zip(x, masks, strict=True):
            name = mark_of(image.detach().numpy()[0])
            place = int(abs(name) * 997) % 4096
            if self.training:
                self.seen[place] = 1
            side = 6 * (1 + self.truth[name]) if self.seen[place] else 4
            mask[0, :side, :side] = 9.0
        return Prediction([masks + self.weight], None, {})


def mark_of(image: np.ndarray) -> float:
    """Enough to tell one image from another."""
    return round(float((image * np.arange(image.size, dtype=np.float64).reshape(image.shape)).mean()), 4)


def build_memoriser(model: Any, channels: int, classes: int, size: int) -> nn.Module:
    return Memoriser()


@pytest.fixture
def planted(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> tuple[Pack, Configuration]:
    """A first stage that gives away the class of what it has seen, over images that say nothing of it."""
    row = Row("memoriser", f"{__name__}:build_memoriser", "own", "", {"tasks": SEGMENT}, stride=2)
    monkeypatch.setitem(registry.MODELS, "memoriser", row)  # type: ignore[arg-type]
    grey = np.full_like(pack.images, 128)
    grey[:, -1, -1] = 5 * np.arange(len(pack))  # one pixel tells them apart
    mute = replace(pack, images=grey, fingerprint="grey")
    plain: dict[str, Any] = {"preset": "none"}
    segment = {"name": "memoriser", "augment": plain, "train": {"epochs": 1, "lr": 1e-6}}
    classify = CLASSIFIER | {"augment": plain, "train": {"epochs": 4, "batch": 8, "lr": 1e-2}}
    two = {"segment": segment, "classify": classify, "feed": "channel"}
    spec = study_of(document(**two) | {"preprocess": {"normalise": "unit"}}, "test").configuration({})
    images = prepared(mute, spec.preprocess, np.arange(len(mute)))[..., 0]
    Memoriser.truth = {mark_of(i): int(label) for i, label in zip(images, mute.labels, strict=True)}
    return mute, spec


def test_what_a_segmenter_memorises_is_in_no_mask_that_the_second_stage_is_shown(
    planted: tuple[Pack, Configuration], tmp_path: Path
) -> None:
    pack, spec = planted
    job = job_of(first_of(spec), pack)
    run(job, pack, tmp_path)
    parts = Parts.of(job.fold, pack)
    drawn = read_masks(LocalStorage(tmp_path), first_of(spec), job.task.fold, pack) > 0.5
    sides = np.sqrt(drawn.sum((1, 2)))
    assert set(sides[parts.train]) == set(sides[parts.validation]) == set(sides[parts.test]) == {4.0}


def test_a_second_stage_profits_nothing_from_a_segmenter_that_memorises(
    planted: tuple[Pack, Configuration], tmp_path: Path
) -> None:
    """It learns what it learns from one and the same mask for every case. Beside it a second stage with the
    masks of a segmenter that has seen its training cases: that one has the classes, so the plant works."""
    pack, spec = planted
    run(job_of(first_of(spec), pack), pack, tmp_path)
    job = job_of(spec, pack)
    same, leaking = np.zeros((2, *pack.masks.shape), np.float32)
    same[:, :4, :4] = 1
    for row in Parts.of(job.fold, pack).train:
        side = 6 * (1 + int(pack.labels[row]))
        leaking[row, :side, :side] = 1
    fair = losses(FoldRun(job, pack, LocalStorage(tmp_path)))
    assert fair == losses(FoldRun(job, pack, LocalStorage(tmp_path / "same"), same))
    unfair = losses(FoldRun(job, pack, LocalStorage(tmp_path / "leaking"), leaking))
    assert unfair[-1] < 0.5 * fair[-1]


def losses(second: FoldRun) -> list[float]:
    return [float(second.next_epoch()["train_total"]) for _ in range(second.train.epochs)]


def test_the_truth_is_shown_of_training_cases_alone(
    pack: Pack, tmp_path: Path, trained: tuple[Path, Job, Job]
) -> None:
    _, job = both(tmp_path, pack, masks="truth")
    fold = FoldRun(job, pack, LocalStorage(tmp_path))
    shown = fold.images[..., -1]
    assert fold.masks is not None
    assert np.array_equal(shown[fold.parts.train], pack.masks[fold.parts.train])
    for part in (fold.parts.validation, fold.parts.test):
        assert np.array_equal(shown[part], fold.masks[part] > 0.4)
    stage = first_of(configuration(masks="truth"))
    result = read_result(LocalStorage(tmp_path), Task(stage.key, job.task.fold))
    assert result is not None
    assert result.epochs == 2  # one segmenter: nobody asks for masks of training cases


# -- training --------------------------------------------------------------------------------------


def test_a_first_stage_trains_one_segmenter_per_inner_fold_and_one_on_all(
    trained: tuple[Path, Job, Job],
) -> None:
    folder, first, _ = trained
    rows = rows_of(first, folder, "epochs")
    assert [(r["stage"], r["network"], r["epoch"]) for r in rows] == [
        ("segment", 0, 1), ("segment", 0, 2), ("segment", 1, 3), ("segment", 1, 4), ("segment", 2, 5),
        ("segment", 2, 6),
    ]  # fmt: skip
    result = read_result(LocalStorage(folder), first.task)
    assert result is not None
    assert (result.stage, result.status, result.epochs) == ("segment", "complete", 6)
    assert LocalStorage(folder).list(RunPaths.checkpoint(first.task)) == ["best.pt"]


def test_a_result_joins_the_masks_of_the_first_and_the_classes_of_the_second(
    trained: tuple[Path, Job, Job],
) -> None:
    folder, first, second = trained
    for part in ("validation", "test"):
        for one, two in zip(
            rows_of(first, folder, f"cases_{part}"), rows_of(second, folder, f"cases_{part}"), strict=True
        ):
            assert one["case"] == two["case"]
            assert one["predicted"] is None
            assert two["predicted"] is not None
            assert two["dice"] is not None
    assert {row["stage"] for row in rows_of(second, folder, "epochs")} == {"classify"}
    shown = {
        path.name.partition("-")[2] for path in folder.glob(f"results/{second.task.folder}/gallery/*.png")
    }
    assert shown == {"image.png", "truth.png", "prediction.png", "refined.png", "cam.png"}
    result = read_result(LocalStorage(folder), second.task)
    assert result is not None
    wanted = (result.validation["dice"] + result.validation["f1_macro"]) / 2
    assert result.score == pytest.approx(wanted)
    assert {"dice", "f1_macro", "auc_macro"} <= set(result.test)


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_first_stage_cut_off_ends_as_if_it_had_not_been(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path, cut: int
) -> None:
    folder, first, _ = trained
    run(first, pack, tmp_path, epochs=cut)
    run(first, pack, tmp_path)
    for name in ("epochs", "cases_validation", "cases_test"):
        assert repr(rows_of(first, tmp_path, name)) == repr(rows_of(first, folder, name))
    masks = f"{RunPaths.result(first.task)}/masks.npz"
    assert LocalStorage(tmp_path).read(masks) == LocalStorage(folder).read(masks)


def test_each_segmenter_draws_with_the_network_of_its_best_epoch(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path
) -> None:
    """What its last epoch left is emptied before anything is drawn."""
    folder, first, _ = trained
    run(first, pack, tmp_path, epochs=6)
    storage = LocalStorage(tmp_path)
    for part in ("", "/inner-0", "/inner-1"):
        path = f"{RunPaths.checkpoint(first.task)}{part}/last.pt"
        state = checkpoint.load(storage, path, "cpu")
        assert state is not None
        for weight in state["network"]["model"].values():
            weight.zero_()
        checkpoint.save(storage, path, state)
    run(first, pack, tmp_path)
    masks = f"{RunPaths.result(first.task)}/masks.npz"
    assert storage.read(masks) == LocalStorage(folder).read(masks)


@pytest.mark.parametrize("heard", [0, 1, 3, 6])
def test_epochs_of_a_first_stage_that_nobody_heard_of_are_told_by_whoever_goes_on(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path, heard: int
) -> None:
    """A budget of epochs counts them; here three networks take two each, all of which are stored."""
    first = trained[1]
    run(first, pack, tmp_path, epochs=6)
    told = list(train_task(first, pack, LocalStorage(tmp_path), heard))
    assert [row["epoch"] for row in told] == list(range(heard + 1, 7))


def test_a_fold_cut_off_in_the_second_stage_goes_on_in_the_second(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path
) -> None:
    folder, first, second = trained
    run(first, pack, tmp_path)
    run(second, pack, tmp_path, epochs=1)
    left = list(train_task(second, pack, LocalStorage(tmp_path)))
    assert [(row["stage"], row["epoch"]) for row in left] == [("classify", 2)]
    assert repr(rows_of(second, tmp_path, "cases_test")) == repr(rows_of(second, folder, "cases_test"))


def test_a_stored_mask_is_that_of_the_case_whose_name_it_has(
    pack: Pack, trained: tuple[Path, Job, Job]
) -> None:
    """As its scores were told, and wherever the case lies in the data that is read later."""
    folder, first, _ = trained
    stage, fold = first_of(configuration()), first.task.fold
    found = read_masks(LocalStorage(folder), stage, fold, pack)
    for row in rows_of(first, folder, "cases_test"):
        drawn = int((found[pack.cases.index(row["case"])] > 0.5).sum())
        assert drawn == row["tp"] + row["fp"]
    turned = replace(pack, cases=pack.cases[::-1])
    assert np.array_equal(read_masks(LocalStorage(folder), stage, fold, turned), found[::-1])
    assert found[Parts.of(first.fold, pack).train].any()


def test_a_probability_is_kept_as_the_nearest_byte() -> None:
    kept = quantised(np.array([0.0, 0.0019, 0.0021, 0.4999, 0.9985, 1.0]))
    assert kept.tolist() == [0, 0, 1, 127, 255, 255]
    assert restored(kept)[-1] == 1.0


def test_missing_masks_are_one_clear_message(
    pack: Pack, tmp_path: Path, trained: tuple[Path, Job, Job]
) -> None:
    with pytest.raises(SonotuneError, match="is missing: the first stage must be trained before the second"):
        run(trained[2], pack, tmp_path)


def test_a_fold_without_a_single_mask_fails_by_itself_and_says_why(
    pack: Pack, trained: tuple[Path, Job, Job]
) -> None:
    spec = study_of(document() | {"predict": {"threshold": 0.999}}, "test").configuration({})
    job = job_of(spec, pack)
    result = run(job, pack, trained[0])
    assert result is not None
    assert (result.status, result.epochs, result.score) == ("failed", 0, None)
    assert "found no lesion in any training case (threshold 0.999)" in result.error
    assert read_result(LocalStorage(trained[0]), job.task) is not None


@pytest.mark.parametrize("feed", ["channel", "crop"])
def test_every_feed_trains(pack: Pack, trained: tuple[Path, Job, Job], feed: str) -> None:
    classify = CLASSIFIER | {"train": {"epochs": 1, "batch": 8}}
    result = run(job_of(configuration(feed=feed, classify=classify), pack), pack, trained[0])
    assert result is not None
    assert result.status == "complete"
