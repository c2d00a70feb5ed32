"""What the spec asks of a training reaches the optimizer, the rate, the batches and the address."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from engine.data.cases import Pack
from engine.data.load import load
from engine.models.contract import Prediction
from engine.spec.load import study_of
from engine.spec.train import Train
from engine.storage import LocalStorage
from engine.task import Task
from engine.training.batches import repeats
from engine.training.epochs import FoldRun, in_parts
from engine.training.measure import counts_of
from engine.training.numerics import Numerics
from engine.training.optim import Schedule, build_optimizer
from tests.one_fold import DOCUMENT, STILL, job_of

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def walked(weight: nn.Parameter, optimizer: Optimizer) -> Tensor:
    """Down a bowl, three steps; the gradient of the last is small, so that what was remembered tells."""
    for slope in (1.0, -2.0, 0.1):
        weight.grad = slope * weight.detach().clone()
        optimizer.step()
    return weight.detach()


DROPPING = STILL | {"model": STILL["model"] | {"dropout": 0.5}}


def weight_of() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sgd", lambda p: SGD([p], lr=0.1, momentum=0.7, weight_decay=0.3)),
        ("adam", lambda p: Adam([p], lr=0.1, betas=(0.6, 0.8), weight_decay=0.3)),
        ("adamw", lambda p: AdamW([p], lr=0.1, betas=(0.6, 0.8), weight_decay=0.3)),
    ],
)
def test_an_optimizer_is_torchs_own_with_every_setting_of_it(
    name: Any, theirs: Callable[[nn.Parameter], Optimizer]
) -> None:
    train = Train(optimizer=name, lr=0.1, momentum=0.7, betas=(0.6, 0.8), weight_decay=0.3)
    ours, other = weight_of(), weight_of()
    walked(ours, build_optimizer(train, [ours]))
    assert torch.allclose(ours, walked(other, theirs(other)), atol=1e-6)


def rates(scores: list[float], cut: bool) -> list[float]:
    """Of each epoch; with `cut`, of a schedule that is made anew and told what the one before knew."""
    train = Train(schedule="plateau", plateau_patience=2, plateau_factor=0.5, lr=1.0)
    schedule = Schedule(train, SGD([weight_of()], lr=1.0))
    found = []
    for epoch, score in enumerate(scores, start=1):
        found.append(schedule.start(epoch))
        schedule.end(score)
        if cut:
            known, schedule = schedule.state_dict(), Schedule(train, SGD([weight_of()], lr=1.0))
            schedule.load_state_dict(known)
    return found


@pytest.mark.parametrize("cut", [False, True])
def test_a_plateau_counts_its_epochs_and_its_reductions_through_every_cut(cut: bool) -> None:
    scores = [0.5, 0.6, 0.6, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    assert rates(scores, cut) == [1.0] * 5 + [0.5] * 4 + [0.25]


def fold_of(pack: Pack, folder: Path, sections: dict[str, Any] = STILL, **train: Any) -> FoldRun:
    """Under one name whatever is asked, so that all begin with the same weights and batches."""
    job = replace(job_of(pack, sections=sections, **train), task=Task("same", "r0-f0"))
    return FoldRun(job, pack, LocalStorage(folder))


def gradient(fold: FoldRun, steps: int = 1) -> Tensor:
    """Of the last of some steps on one batch, at a rate that changes no weight."""
    batch = next(fold.batches.epoch(1))
    for _ in range(steps):
        fold.network.schedule.start(1)
        fold.network.step(batch, 1)
    found = [p.grad for p in fold.network.model.parameters() if p.grad is not None]
    return torch.cat([each.flatten() for each in found])


def test_the_gradient_of_a_step_is_its_own(pack: Pack, tmp_path: Path) -> None:
    """Nothing of the step before, and as large from parts of a batch as from the whole; Adam hides both."""
    once = gradient(fold_of(pack, tmp_path, lr=1e-12))
    again = gradient(fold_of(pack, tmp_path, lr=1e-12), steps=2)
    parts = gradient(fold_of(pack, tmp_path, lr=1e-12, micro_batches=3))
    assert float(once.norm()) > 1e-3
    for other in (again, parts):
        assert torch.allclose(once, other, atol=1e-5 * float(once.norm()))


def test_what_is_reconstructed_is_the_image_as_the_network_saw_it(pack: Pack, tmp_path: Path) -> None:
    """After augmentation, and in each part of a batch the part's own."""
    fold = fold_of(pack, tmp_path, {"model": {"name": "adityan", "width": 4, "depth": 2, "norm": "group"}})
    batch = next(fold.batches.epoch(1))
    with torch.no_grad():
        seen = fold.network.model(batch.images).aux["reconstruction"]
    wanted = float(nn.functional.mse_loss(seen, batch.images))
    fold.network.configuration = in_parts(fold.network.configuration, 2)
    fold.network.schedule.start(1)
    assert float(fold.network.step(batch, 1)["reconstruction"]) == pytest.approx(wanted, rel=1e-4)


def test_half_precision_alone_scales_its_loss_and_grows_the_scale(pack: Pack, tmp_path: Path) -> None:
    for precision in ("off", "bf16"):
        assert fold_of(pack, tmp_path, precision=precision).network.scaler.get_scale() == 1.0
    network = fold_of(pack, tmp_path, precision="fp16").network
    network.scaler.set_growth_interval(2)
    before = network.scaler.get_scale()
    batch = next(fold_of(pack, tmp_path).batches.epoch(1))
    for _ in range(2):
        network.step(batch, 1)
    assert network.scaler.get_scale() == 2 * before > 1.0


@pytest.mark.parametrize("rounding", ["nearest", "ceil"])
def test_rare_classes_are_repeated_as_the_spec_says(pack: Pack, tmp_path: Path, rounding: Any) -> None:
    labels = np.repeat(np.arange(3), [20, 17, 11])  # in three classes of 48: 2.4, 2.8 and 4.4 times
    uneven = replace(pack, labels=labels, fingerprint="uneven")
    job = job_of(uneven, oversample="deterministic", oversample_rounding=rounding)
    fold = FoldRun(job, uneven, LocalStorage(tmp_path))
    own = labels[fold.parts.train]
    wanted = repeats(own, 3, rounding)[own]
    assert not np.array_equal(wanted, repeats(own, 3, "ceil" if rounding == "nearest" else "nearest")[own])
    assert np.bincount(fold.batches.cases, minlength=48)[fold.parts.train].tolist() == wanted.tolist()


def test_training_images_are_augmented_and_no_others_are(pack: Pack, tmp_path: Path) -> None:
    fold = fold_of(pack, tmp_path, {"augment": {"preset": "none", "flip_vertical": {"p": 1.0}}})
    batch = next(fold.batches.epoch(1))
    still = torch.from_numpy(fold.images[batch.indices]).permute(0, 3, 1, 2)
    assert torch.equal(batch.images, still.flip(2))
    seen: list[Tensor] = []
    fold.network.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fold.outputs(fold.parts.validation)
    plain = torch.from_numpy(fold.images[fold.parts.validation]).permute(0, 3, 1, 2)
    assert torch.equal(torch.cat(seen), plain)


def test_classes_are_counted_in_the_training_part_alone(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack, sections={"loss": {"class_weights": "balanced"}})
    rare = replace(job.fold, train=job.fold.train[:9])
    fold = FoldRun(replace(job, fold=rare), pack, LocalStorage(tmp_path))
    counts = np.maximum(np.bincount(pack.labels[fold.parts.train], minlength=3), 1)
    assert len(set(counts.tolist())) > 1
    assert fold.network.objective.weights is not None
    assert fold.network.objective.weights.tolist() == pytest.approx(counts.sum() / (3 * counts))


def test_each_fold_of_each_configuration_and_study_draws_by_itself(pack: Pack, tmp_path: Path) -> None:
    job = job_of(pack)
    others = (
        replace(job, seed=1),
        replace(job, task=Task("other", job.task.fold)),
        replace(job, task=Task(job.task.key, "other")),
    )
    first, *found = [FoldRun(each, pack, LocalStorage(tmp_path)) for each in (job, *others)]
    for other in found:
        assert other.batches.order(1).tolist() != first.batches.order(1).tolist()
        starts = zip(first.network.model.parameters(), other.network.model.parameters(), strict=True)
        assert not all(torch.equal(*pair) for pair in starts)


def test_each_epoch_drops_out_by_itself(pack: Pack, tmp_path: Path) -> None:
    """From a seed of its own: the same one would silence the same features at the same steps for ever."""
    fold, seeds = fold_of(pack, tmp_path, DROPPING), []
    for _ in range(3):
        fold.next_epoch()
        seeds.append(torch.initial_seed())
    assert len(set(seeds)) == 3
    torch.manual_seed(seeds[0])
    fold.network.model.train()
    image = torch.from_numpy(fold.images[:1]).permute(0, 3, 1, 2)
    with torch.no_grad():
        said = [fold.network.model(image).masks[-1] for _ in range(2)]
    assert not torch.equal(*said)


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Prediction:
        return Prediction([self.layer(x)], None, {})


def test_a_product_and_its_sum_are_two_operations_of_one_image(pack: Pack, tmp_path: Path) -> None:
    network = replace(fold_of(pack, tmp_path).network, model=OneLayer())
    counts = counts_of(network, np.zeros((5, 8, 8, 1), np.float32))
    assert (counts.parameters, counts.flops) == (3 * 9 + 3, 2 * 3 * 9 * 64)


def test_whatever_the_digits_hang_on_is_in_the_address_of_a_result(pack: Pack) -> None:
    job = job_of(pack)
    others = (
        job_of(pack, lr=1e-4),
        replace(job, fingerprint="other"),
        replace(job, fold=replace(job.fold, train=job.fold.train[1:])),
        replace(job, seed=1),
        replace(job, numerics=Numerics("cpu", "bf16", 1)),
        replace(job, numerics=Numerics("cpu", "off", 2)),
        replace(job, objective=({"dice": 1.0},)),
        replace(job, inner=(("a",), ("b",))),
    )
    assert len({each.address for each in (job, *others)}) == 1 + len(others)
    assert {replace(job, keep="all").address, replace(job, parts=2).address} == {job.address}
