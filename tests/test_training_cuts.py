"""A fold that loses its worker after every epoch, under all that keeps a state from one to the next."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.results import RunPaths
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.training import checkpoint
from engine.training.job import Job
from tests.one_fold import DOCUMENT, digits, job_of, run

torch.set_num_threads(1)
EPOCHS = 4
MOVED = {"preset": "none", "flip_vertical": {"p": 0.5}, "rotation": {"p": 0.7}, "speckle": {"p": 0.5}}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    data = {"source": "phantom", "count": 24, "size": 32}
    return load(study_of(DOCUMENT | {"data": data}, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def flat(state: Any) -> list[Any]:
    """All that it holds, in order; tensors as their bytes."""
    if isinstance(state, dict):
        return [part for name in state if name != "progress" for part in (name, *flat(state[name]))]
    if isinstance(state, list | tuple):
        return [part for each in state for part in flat(each)]
    return [state.numpy().tobytes() if isinstance(state, torch.Tensor) else repr(state)]


def left(job: Job, folder: Path) -> list[Any]:
    """Of the networks, the optimizer, the scaler and the schedule: whatever lies in checkpoints but times."""
    paths = [f"{RunPaths.checkpoint(job.task)}/{name}.pt" for name in ("best", "last")]
    found = flat([checkpoint.load(LocalStorage(folder), path, "cpu") for path in paths])
    assert len(found) > 100
    return found


@pytest.mark.parametrize(
    ("train", "loss"),
    [
        ({"optimizer": "sgd", "schedule": "plateau", "plateau_patience": 1, "oversample": "random"},
         {"weighting": "uncertainty"}),
        ({"optimizer": "adam", "schedule": "lambda", "precision": "bf16", "micro_batches": 2},
         {"weighting": "dwa", "class_weights": "balanced"}),
        ({"optimizer": "adamw", "schedule": "cosine", "precision": "fp16", "clip": 1.0, "warmup": 1,
          "oversample": "deterministic"}, {"weighting": "scheduled", "schedule": {"to": 0.1, "epochs": 3}}),
    ],
)  # fmt: skip
def test_a_fold_that_is_cut_off_after_every_epoch_ends_as_if_it_had_not_been(
    pack: Pack, tmp_path: Path, train: dict[str, Any], loss: dict[str, Any]
) -> None:
    """With dropout and augmentation; to the bit, in what was told and in what was learned."""
    job = job_of(pack, keep="all", sections={"augment": MOVED, "loss": loss}, epochs=EPOCHS, **train)
    run(job, pack, tmp_path / "whole")
    for _ in range(EPOCHS):
        assert run(job, pack, tmp_path / "cut", epochs=1) is None
    run(job, pack, tmp_path / "cut")
    assert digits(job, tmp_path / "cut") == digits(job, tmp_path / "whole")
    assert left(job, tmp_path / "cut") == left(job, tmp_path / "whole")
