"""Optimizer steps: from parts of a batch, at which rate, in which layout, and what they leave alone."""

from pathlib import Path
from typing import Any

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
from engine.training.batches import Batch
from engine.training.job import Job
from engine.training.network import Network, build_network, fastest_layout
from engine.training.numerics import Numerics, Precision
from engine.training.optim import Schedule, build_optimizer
from tests.one_fold import DOCUMENT, run, table

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def built(train: dict[str, Any], precision: Precision = "off", **sections: Any) -> Network:
    torch.manual_seed(0)
    configuration = study_of(DOCUMENT | {"train": train} | sections, "test").configuration({})
    return build_network(configuration, 1, np.array([5, 5, 5]), 32, Numerics("cpu", precision, 1))


def batch_of(pack: Pack) -> Batch:
    images = pack.images[:8, None].astype(np.float32) / 255
    columns = images, pack.masks[:8, None].astype(np.float32), pack.labels[:8], np.arange(8)
    return Batch(*map(torch.from_numpy, map(np.ascontiguousarray, columns)))


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
        (row,) = table(job, tmp_path / str(parts), "epochs").to_pylist()
        losses.append([row["train_total"], row["validation_total_loss"]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_a_loss_learns_its_weights_beside_the_network(pack: Pack) -> None:
    network = built({"epochs": 1, "batch": 8}, loss={"weighting": "uncertainty"})
    before = [p.detach().clone() for p in network.objective.parameters()]
    network.step(batch_of(pack), 1)
    assert before
    assert not any(torch.equal(*pair) for pair in zip(before, network.objective.parameters(), strict=True))


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


def test_a_gradient_is_clipped_as_it_is_and_not_as_half_precision_scales_it(pack: Pack) -> None:
    """At a rate of one a step of plain descent is as long as its gradient."""
    train = {"epochs": 1, "batch": 8, "optimizer": "sgd", "momentum": 0.0, "lr": 1.0, "clip": 0.01}
    for scaler in (torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu", init_scale=1024)):
        network = built(train)
        network.scaler = scaler
        before = torch.nn.utils.parameters_to_vector(network.model.parameters()).detach().clone()
        network.step(batch_of(pack), 1)
        after = torch.nn.utils.parameters_to_vector(network.model.parameters()).detach()
        assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("precision", "same"), [("off", True), ("bf16", False)])
def test_answers_and_losses_are_numbers_of_full_precision(
    pack: Pack, precision: Precision, same: bool
) -> None:
    network, batch = built({"epochs": 1, "batch": 8}, precision), batch_of(pack)
    network.model.eval()
    found = network.predict(batch.images)
    assert found.logits is not None
    with torch.no_grad():
        plain = network.model(batch.images)
    for ours, theirs in ((found.masks[-1], plain.masks[-1]), (found.logits, plain.logits)):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs) == same
        assert torch.allclose(ours, theirs, atol=0.05)
    assert {value.dtype for value in network.step(batch, 1).values()} == {torch.float32}


@pytest.mark.parametrize(("precision", "within"), [("off", torch.float32), ("bf16", torch.bfloat16)])
def test_steps_and_answers_are_computed_in_the_precision_that_was_asked_for(
    pack: Pack, precision: Precision, within: torch.dtype
) -> None:
    network, batch = built({"epochs": 1, "batch": 8}, precision), batch_of(pack)
    seen: list[torch.dtype] = []
    first = next(part for part in network.model.modules() if isinstance(part, torch.nn.Conv2d))
    first.register_forward_hook(lambda *told: seen.append(told[2].dtype))
    network.step(batch, 1)
    network.predict(batch.images)
    assert seen == [within] * 2


@pytest.mark.parametrize(
    ("train", "factors"),
    [
        ({"epochs": 3, "schedule": "constant"}, [1, 1, 1]),
        ({"epochs": 5, "schedule": "cosine", "lr_floor": 0.2}, [1, 0.924, 0.724, 0.476, 0.276]),
        ({"epochs": 7, "schedule": "cosine", "warmup": 2}, [1 / 3, 2 / 3, 1, 0.905, 0.655, 0.345, 0.095]),
        ({"epochs": 1, "schedule": "cosine"}, [1]),
        ({"epochs": 4, "schedule": "lambda", "decay": 0.5, "lr_floor": 0.2}, [1, 0.5, 0.25, 0.2]),
        ({"epochs": 4, "schedule": "lambda", "decay": 0.5, "warmup": 1}, [0.5, 1, 0.5, 0.25]),
    ],
)  # fmt: skip
def test_a_rate_rises_to_its_value_and_falls_to_its_floor(
    train: dict[str, Any], factors: list[float]
) -> None:
    """All that is trained follows it, also what a loss learns."""
    settings = Train(lr=0.5, **train)
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = build_optimizer(settings, weights[:1], weights[1:])
    schedule = Schedule(settings, optimizer)
    for epoch, factor in enumerate(factors, start=1):
        assert schedule.start(epoch) == pytest.approx(0.5 * factor, abs=5e-4)
        assert [group["lr"] for group in optimizer.param_groups] == [schedule.start(epoch)] * 2
        schedule.end(0.0)
