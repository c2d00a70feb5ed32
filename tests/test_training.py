"""One fold's training: the same digits every time, also when it was cut off in the middle."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.models.deform import DeformConv
from engine.objective import objectives
from engine.results import FoldResult, RunPaths, read_result, read_table
from engine.spec.load import study_of
from engine.spec.preprocess import Preprocess
from engine.spec.train import Train
from engine.storage import LocalStorage
from engine.task import Task
from engine.training import checkpoint
from engine.training import prepared as prepared_images
from engine.training.fold import train_fold, warnings_of
from engine.training.job import Job
from engine.training.measure import _peak_memory, forget_peak
from engine.training.network import build_network, fastest_layout
from engine.training.numerics import Numerics
from engine.training.optim import Schedule, build_optimizer
from engine.training.prepared import prepared
from tests.run_folder import TIMES
from tests.trained import advance

DOCUMENT = {
    "study": "training",
    "data": {"source": "phantom", "count": 48, "size": 32},
    "folds": {"k": 2},
    "model": {"name": "unet_mtl", "width": 4, "depth": 2, "dropout": 0.1},
    "train": {"epochs": 4, "batch": 8, "lr": 5e-3, "schedule": "plateau", "plateau_patience": 0},
}

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def job_of(pack: Pack, keep: str = "best", **train: Any) -> Job:
    study = study_of(DOCUMENT | {"train": DOCUMENT["train"] | train}, "test")
    configuration = study.configuration({})
    fold = make_folds(pack, study.fixed.folds).folds[0]
    task = Task(configuration.config_id, fold.name)
    numerics = Numerics("cpu", "off", 1)
    wanted = objectives(study.fixed.search)
    return Job(task, configuration.record(), fold, pack.fingerprint, 0, numerics, wanted, keep)


def run(job: Job, pack: Pack, folder: Path, epochs: int | None = None) -> FoldResult | None:
    """To the end, or until `epochs` have been yielded and the worker is gone."""
    return advance(train_fold(job, pack, LocalStorage(folder)), epochs)


def table(job: Job, folder: Path, name: str) -> pa.Table:
    return read_table(LocalStorage(folder), f"{RunPaths.result(job.task)}/{name}.parquet")


def digits(job: Job, folder: Path) -> str:
    """Every number of every epoch and case but the times; as text, since NaN is not equal to itself."""
    epochs = table(job, folder, "epochs").drop_columns(TIMES)
    parts = (epochs, table(job, folder, "cases_validation"), table(job, folder, "cases_test"))
    return repr([part.to_pylist() for part in parts])


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
    result = run(second, pack, tmp_path)
    assert result is not None
    assert table(second, tmp_path, "epochs").num_rows == 4


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


def test_parts_of_a_batch_make_the_same_step_as_the_whole(pack: Pack, tmp_path: Path) -> None:
    """Up to rounding, for a network without batch statistics; Dice is a mean over cases, and the classes'
    weights are those of the whole batch."""
    model = {"model": {"name": "unet_mtl", "width": 4, "depth": 2, "norm": "instance"}}
    model["loss"] = {"lambda": 0.3, "class_weights": (0.1, 1.0, 10.0), "weighting": "uncertainty"}
    losses = []
    for parts in (1, 8):
        train = {"epochs": 1, "batch": 8, "lr": 1e-3, "micro_batches": parts}
        study = study_of(DOCUMENT | model | {"train": train}, "test")
        configuration = study.configuration({})
        fold = make_folds(pack, study.fixed.folds).folds[0]
        task = Task("same", fold.name)
        job = Job(task, configuration.record(), fold, pack.fingerprint, 0, Numerics("cpu", "off", 1),
                  objectives(study.fixed.search))  # fmt: skip
        run(job, pack, tmp_path / str(parts))
        losses.append(table(job, tmp_path / str(parts), "epochs")["validation_total_loss"][0].as_py())
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_what_a_loss_learns_is_not_decayed(pack: Pack) -> None:
    """Weight decay would pull each task's variance towards one, as if that were known."""
    study = study_of(DOCUMENT | {"loss": {"weighting": "uncertainty"},
                                 "train": {"weight_decay": 0.1, "optimizer": "adamw"}}, "test")  # fmt: skip
    network = build_network(study.configuration({}), 1, np.array([5, 5, 5]), 32, Numerics("cpu", "off", 1))
    before = [p.detach().clone() for p in network.objective.parameters()]
    for p in (*network.model.parameters(), *network.objective.parameters()):
        p.grad = torch.zeros_like(p)
    weight = network.model.state_dict()[next(iter(network.model.state_dict()))].clone()
    network.optimizer.step()
    assert before
    assert all(torch.equal(*pair) for pair in zip(before, network.objective.parameters(), strict=True))
    assert not torch.equal(weight, next(iter(network.model.state_dict().values())))


def test_a_result_comes_with_pictures_of_some_cases(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, epochs=1)
    run(job, pack, tmp_path)
    folder = tmp_path / RunPaths.result(job.task) / "gallery"
    listed = json.loads((folder / "index.json").read_text())
    assert {one["rank"] for one in listed} == {"best", "median", "worst"}
    assert all((folder / name).stat().st_size > 100 for one in listed for name in one["files"].values())
    assert set(listed[0]["files"]) == {"image", "truth", "prediction", "refined", "cam"}


@pytest.mark.parametrize("norm", [torch.nn.InstanceNorm2d(8), DeformConv(8, 8)])
def test_channels_come_last_in_half_precision_unless_something_would_undo_it(norm: torch.nn.Module) -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    assert fastest_layout(plain, "bf16") is torch.channels_last
    assert fastest_layout(plain, "off") is torch.contiguous_format
    planes = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), norm)
    assert fastest_layout(planes, "bf16") is torch.contiguous_format


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


def test_momentum_begins_at_nothing_also_where_the_first_step_overflows() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = build_optimizer(Train(optimizer="sgd", momentum=0.9, lr=0.1), [weight])
    scaler = torch.amp.GradScaler("cpu")
    for gradient in (float("inf"), 1.0):
        weight.grad = torch.full((4,), gradient) * scaler.get_scale()
        scaler.scale(torch.ones(1))
        scaler.step(optimizer)
        scaler.update()
    assert weight.tolist() == pytest.approx([0.9] * 4)


@pytest.mark.parametrize("score", [0.2, -0.2, 0.0])
def test_a_plateau_is_one_whatever_its_sign(score: float) -> None:
    train = Train(schedule="plateau", plateau_patience=2, plateau_factor=0.1, lr=1.0, epochs=9)
    schedule = Schedule(train, torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    rates = []
    for epoch in range(1, 9):
        rates.append(schedule.start(epoch))
        schedule.end(score)
    assert rates[3] == 1.0
    assert rates[-1] < 0.2
