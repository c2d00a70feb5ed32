"""Optimizer steps: from parts of a batch, at which rate, in which layout, and what they leave alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.folds.make import make_folds
from engine.models.deform import DeformConv
from engine.objective import objectives
from engine.spec.load import study_of
from engine.spec.train import Train
from engine.task import Task
from engine.training.job import Job
from engine.training.network import build_network, fastest_layout
from engine.training.numerics import Numerics
from engine.training.optim import Schedule, build_optimizer
from tests.one_fold import DOCUMENT, run, table

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


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


@pytest.mark.parametrize("norm", [torch.nn.InstanceNorm2d(8), DeformConv(8, 8)])
def test_channels_come_last_in_half_precision_unless_something_would_undo_it(norm: torch.nn.Module) -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    assert fastest_layout(plain, "bf16") is torch.channels_last
    assert fastest_layout(plain, "off") is torch.contiguous_format
    planes = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), norm)
    assert fastest_layout(planes, "bf16") is torch.contiguous_format


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
