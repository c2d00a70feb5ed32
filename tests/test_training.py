"""One fold's training: the same digits every time, also when it was cut off in the middle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.errors import SonotuneError
from engine.results import RunPaths, read_result
from engine.spec.load import study_of
from engine.spec.preprocess import Preprocess
from engine.storage import LocalStorage
from engine.task import Task
from engine.training import checkpoint
from engine.training import prepared as prepared_images
from engine.training.fold import train_fold, warnings_of
from engine.training.job import Job
from engine.training.measure import _peak_memory, forget_peak
from engine.training.numerics import Numerics
from engine.training.prepared import prepared
from tests.one_fold import DOCUMENT, digits, job_of, run, table

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def test_the_same_job_gives_the_same_digits(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack)
    for name in "ab":
        run(job, pack, tmp_path / name)
    assert digits(job, tmp_path / "a") == digits(job, tmp_path / "b")


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_fold_cut_off_in_the_middle_ends_as_if_it_had_not_been(
    pack: Pack, tmp_path: Path, cut: int
) -> None:
    job = job_of(pack)
    run(job, pack, tmp_path / "whole")
    run(job, pack, tmp_path / "cut", epochs=cut)
    run(job, pack, tmp_path / "cut")
    assert digits(job, tmp_path / "cut") == digits(job, tmp_path / "whole")


def test_what_no_training_changes_is_told_beside_the_first_epoch(pack: Pack, tmp_path: Path) -> None:
    """So that a network too large or too dear is known as such before its first fold is over."""
    job = job_of(pack)
    epochs = train_fold(job, pack, LocalStorage(tmp_path))
    rows = [next(epochs), next(epochs)]
    result = run(job, pack, tmp_path)
    assert result is not None
    assert rows[0]["figures"] == {"parameters": result.parameters, "flops": result.flops}
    assert result.flops > 10 * result.parameters > 0
    assert "figures" not in rows[1]
    assert "figures" not in table(job, tmp_path, "epochs").column_names


@pytest.mark.parametrize("heard", [0, 1, 2])
def test_epochs_that_were_stored_and_never_heard_of_are_told_before_any_other(
    pack: Pack, tmp_path: Path, heard: int
) -> None:
    """A driver that was killed, or is being stopped, does not hear the last of what its workers store; the
    race would not know the best epoch if that was among them, nor sizes if it was the first."""
    job, folder = job_of(pack), LocalStorage(tmp_path)
    cut = train_fold(job, pack, folder)
    before = [next(cut), next(cut)]
    told = list(train_fold(job, pack, folder, heard))
    assert json.dumps(told[: 2 - heard]) == json.dumps(before[heard:])  # of which some are not a number
    assert [row["epoch"] for row in told] == list(range(heard + 1, 5))
    assert [row["epoch"] for row in table(job, tmp_path, "epochs").to_pylist()] == [1, 2, 3, 4]


def test_folds_share_prepared_images_unless_these_depend_on_who_trains(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a worker keeps of them is bounded by its size, down to what it prepared last."""
    first, second = np.arange(10), np.arange(10, 20)
    alike, apart = Preprocess(normalise="image"), Preprocess(normalise="dataset")
    assert prepared(pack, alike, first) is prepared(pack, alike, second)
    own = prepared(pack, apart, first)
    assert not np.array_equal(own, prepared(pack, apart, second))
    assert prepared(pack, apart, first) is own
    monkeypatch.setattr(prepared_images, "MOST", 2 * own.nbytes)
    assert prepared(pack, apart, np.arange(20, 30)) is not own
    assert prepared(pack, apart, first) is own
    monkeypatch.setattr(prepared_images, "MOST", 1)
    last = prepared(pack, apart, second)
    assert prepared(pack, apart, second) is last
    assert prepared(pack, apart, first) is not own


def test_a_damaged_checkpoint_only_costs_the_epochs_it_held(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack)
    run(job, pack, tmp_path / "whole")
    run(job, pack, tmp_path / "cut", epochs=2)
    path = tmp_path / "cut" / RunPaths.checkpoint(job.task) / "last.pt"
    path.write_bytes(path.read_bytes()[:-100] + b"\0" * 100)
    run(job, pack, tmp_path / "cut")
    assert digits(job, tmp_path / "cut") == digits(job, tmp_path / "whole")


def test_a_checkpoint_of_another_configuration_is_not_taken_up(pack: Pack, tmp_path: Path) -> None:
    first, second = job_of(pack), job_of(pack, lr=1e-3)
    run(first, pack, tmp_path, epochs=2)
    theirs, ours = (tmp_path / RunPaths.checkpoint(job.task) for job in (first, second))
    theirs.rename(tmp_path / "aside")
    ours.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "aside").rename(ours)
    run(second, pack, tmp_path)
    run(second, pack, tmp_path / "whole")
    assert digits(second, tmp_path) == digits(second, tmp_path / "whole")


def test_the_result_speaks_of_the_best_validation_epoch(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack)
    result = run(job, pack, tmp_path)
    assert result is not None
    scores = table(job, tmp_path, "epochs")["score"].to_pylist()
    assert result.score == max(scores)
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert "cores" in result.hardware
    stored = read_result(LocalStorage(tmp_path), job.task)
    assert stored is not None
    assert stored.validation["dice"] * 0.5 + stored.validation["f1_macro"] * 0.5 == pytest.approx(
        result.score
    )


def test_each_term_of_the_loss_is_a_column_of_the_epochs(pack: Pack, tmp_path: Path) -> None:
    study = study_of(
        DOCUMENT | {
            "model": {"name": "mtl_oca", "width": 4, "depth": 2},
            "loss": {"gamma": 0.2, "lossnet": {"levels": 1}, "weighting": "uncertainty"},
            "train": {"epochs": 1, "batch": 8},
        },
        "test",
    )  # fmt: skip
    configuration = study.configuration({})
    job = replace(job_of(pack), record=configuration.record(), task=Task(configuration.config_id, "r0-f0"))
    run(job, pack, tmp_path)
    (row,) = table(job, tmp_path, "epochs").to_pylist()
    terms = (
        "mask",
        "soft_regions",
        "lossnet",
        "segmentation",
        "classification",
        "weight_segmentation",
        "total",
    )
    assert all(row[f"train_{term}"] > 0 for term in terms)
    parts = row["train_mask"] + 0.4 * row["train_soft_regions"] + 0.2 * row["train_lossnet"]
    assert parts == pytest.approx(row["train_segmentation"], rel=1e-5)


def test_test_cases_are_scored_once_and_apart(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack)
    run(job, pack, tmp_path)
    assert not [name for name in table(job, tmp_path, "epochs").column_names if "test" in name]
    for part in ("test", "validation"):
        assert table(job, tmp_path, f"cases_{part}")["case"].to_pylist() == list(getattr(job.fold, part))


def poison(job: Job, storage: LocalStorage, ending: str) -> None:
    """Whatever in the last checkpoint's network has a name with this ending is no number any more."""
    path = f"{RunPaths.checkpoint(job.task)}/last.pt"
    state = checkpoint.load(storage, path, "cpu")
    assert state is not None
    for name, value in state["network"]["model"].items():
        if name.endswith(ending) and value.is_floating_point():
            value.fill_(float("nan"))
    checkpoint.save(storage, path, state)


def test_a_loss_that_is_not_finite_ends_the_fold_and_names_the_step(pack: Pack, tmp_path: Path) -> None:
    """The weights of a first epoch are poisoned, as an exploding step would have done."""
    job, storage = job_of(pack), LocalStorage(tmp_path)
    run(job, pack, tmp_path, epochs=1)
    poison(job, storage, "")
    result = run(job, pack, tmp_path)
    assert result is not None
    assert (result.status, result.epochs) == ("diverged", 1)
    assert "not finite at epoch 2, step 1" in result.error
    stored = read_result(storage, job.task)
    assert stored is not None
    assert stored.error == result.error


def test_answers_that_are_no_numbers_end_the_fold_unscored(pack: Pack, tmp_path: Path) -> None:
    """Running means that are lost leave training untouched, and every answer is NaN."""
    job, storage = job_of(pack), LocalStorage(tmp_path)
    run(job, pack, tmp_path, epochs=1)
    poison(job, storage, "running_mean")
    result = run(job, pack, tmp_path)
    assert result is not None
    assert (result.status, result.epochs, result.best_epoch) == ("diverged", 1, 1)
    assert f"not numbers for {len(job.fold.validation)} of" in result.error
    assert not result.test


@pytest.mark.parametrize(
    ("keep", "left"), [("none", []), ("best", ["best.pt"]), ("all", ["best.pt", "last.pt"])]
)
def test_no_more_checkpoints_are_kept_than_asked_for(
    pack: Pack, tmp_path: Path, keep: str, left: list[str]
) -> None:
    job = job_of(pack, keep=keep, epochs=1)
    run(job, pack, tmp_path)
    assert LocalStorage(tmp_path).list(RunPaths.checkpoint(job.task)) == left


def test_a_result_comes_with_pictures_of_some_cases(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, epochs=1)
    run(job, pack, tmp_path)
    folder = tmp_path / RunPaths.result(job.task) / "gallery"
    listed = json.loads((folder / "index.json").read_text())
    assert {one["rank"] for one in listed} == {"best", "median", "worst"}
    assert all((folder / name).stat().st_size > 100 for one in listed for name in one["files"].values())
    assert set(listed[0]["files"]) == {"image", "truth", "prediction", "refined", "cam"}


def test_a_random_feature_loss_is_said() -> None:
    study = study_of({"study": "x", "loss": {"gamma": 0.2}}, "test")
    (warning,) = warnings_of(study.configuration({}))
    assert "random VGG filters" in warning


def test_a_run_does_not_go_on_with_training_code_of_other_digits() -> None:
    begun = Numerics("cpu", "off", 1)
    assert Numerics.of(begun.record()) == begun
    with pytest.raises(SonotuneError, match="began with version 0 of the training code"):
        Numerics.of(begun.record() | {"version": 0})


def test_a_warm_worker_forgets_the_memory_of_what_it_trained_before() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system cannot forget it")
    before = _peak_memory("cpu")
    large = torch.ones(2**26)  # 256 MiB
    high = _peak_memory("cpu")
    del large
    forget_peak("cpu")
    assert high >= before
    assert _peak_memory("cpu") < high - 200
