"""Batches are the same whatever the threads, cover every case, and oversample as they say."""

import threading
from collections import Counter

import numpy as np
import pytest
import torch

from engine.data.phantom import CLASSES, generate
from engine.data.preprocess import prepare
from engine.spec.augment import Augment
from engine.spec.preprocess import Preprocess
from engine.training.batches import Batches, repeats

IMAGES, MASKS, LABELS = generate(41, 32, CLASSES, 4)
READY = prepare(IMAGES, Preprocess(derivative=1.0), np.arange(41))
TRAIN = np.arange(3, 40)
EVERYTHING = Augment.model_validate(
    {
        "preset": "two_stage",
        "crop": {"p": 0.5, "kind": "random"},
        "elastic": {"p": 0.3},
        "speckle": {"p": 0.5},
        "dropout": {"p": 0.5},
    }
)


def batches(**changes) -> Batches:
    settings = {"batch": 8, "classes": 3, "augment": EVERYTHING, "seed": 9, "threads": 1} | changes
    return Batches(READY, MASKS, LABELS, TRAIN, **settings)


def same(first, second) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_the_number_of_threads_changes_nothing():
    reference = list(batches(threads=0).epoch(2))
    for threads in (1, 2, 5):
        assert same(reference, list(batches(threads=threads).epoch(2)))


def test_an_epoch_can_be_made_again_and_differs_from_the_next():
    made = batches()
    first = list(made.epoch(1))
    next_one = list(made.epoch(2))
    assert same(first, list(made.epoch(1)))
    assert not same(first, next_one)
    assert not same(first, list(batches(seed=10).epoch(1)))


def test_batches_have_the_types_that_networks_take():
    batch = next(batches().epoch(0))
    assert batch.images.shape == (8, 2, 32, 32)
    assert batch.masks.shape == (8, 1, 32, 32)
    assert [part.dtype for part in batch] == [torch.float32, torch.float32, torch.int64, torch.int64]
    assert batch.images.is_contiguous()
    assert set(batch.masks.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(batch.labels, torch.from_numpy(LABELS)[batch.indices])


def test_every_case_comes_once_per_epoch():
    made = batches()
    rows = [int(row) for batch in made.epoch(0) for row in batch.indices]
    assert sorted(rows) == TRAIN.tolist()
    assert len(list(made.epoch(0))) == len(made) == 5


def test_without_augmentation_and_shuffling_the_cases_come_as_they_are():
    made = list(batches(augment=None, shuffle=False, batch=6).epoch(0))
    assert torch.cat([batch.indices for batch in made]).tolist() == TRAIN.tolist()
    assert np.array_equal(torch.cat([b.images for b in made]).permute(0, 2, 3, 1).numpy(), READY[TRAIN])
    assert np.array_equal(torch.cat([b.masks for b in made])[:, 0].numpy(), MASKS[TRAIN])


def test_the_source_is_left_as_it_is():
    ready, masks = READY.copy(), MASKS.copy()
    list(batches().epoch(0))
    assert np.array_equal(READY, ready)
    assert np.array_equal(MASKS, masks)


def test_read_only_arrays_will_do():
    frozen = [array.copy() for array in (READY, MASKS, LABELS)]
    for array in frozen:
        array.setflags(write=False)
    made = Batches(*frozen, TRAIN, batch=8, classes=3, augment=EVERYTHING)
    assert len(list(made.epoch(0))) == 5


@pytest.mark.parametrize(
    ("count", "settings", "sizes"),
    [
        (9, {}, [4, 5]),  # a lone last case joins the batch before it
        (10, {}, [4, 4, 2]),
        (10, {"drop_last": True}, [4, 4]),
        (9, {"shuffle": False}, [4, 4, 1]),
        (1, {}, [1]),
        (3, {"drop_last": True}, [3]),
        (3, {"batch": 1}, [1, 1, 1]),
    ],
)
def test_the_last_batch(count, settings, sizes):
    made = Batches(READY, MASKS, LABELS, np.arange(count), **({"batch": 4, "classes": 3} | settings))
    assert [len(batch.labels) for batch in made.epoch(0)] == sizes
    assert len(made) == len(sizes)


def shares(benign: int, malignant: int, normal: int) -> np.ndarray:
    return np.repeat(np.arange(3), [benign, malignant, normal])


@pytest.mark.parametrize(
    ("counts", "rounding", "expected"),
    [
        ((493, 364, 142), "nearest", [2, 3, 7]),  # the paper's worked example
        ((493, 364, 142), "ceil", [3, 3, 8]),  # the paper's formula
        ((222, 164, 64), "nearest", [2, 3, 7]),  # Curated BUSI
        ((10, 10, 10), "nearest", [3, 3, 3]),
        ((10, 0, 10), "nearest", [2, 1, 2]),
        ((99, 1, 0), "nearest", [1, 100, 1]),
    ],
)
def test_deterministic_oversampling_repeats_by_the_inverse_share(counts, rounding, expected):
    assert repeats(shares(*counts), 3, rounding).tolist() == expected


def test_deterministic_oversampling_repeats_every_case_of_a_class_alike():
    made = batches(oversample="deterministic", augment=None)
    seen = Counter(int(row) for batch in made.epoch(0) for row in batch.indices)
    factors = repeats(LABELS[TRAIN], 3)
    assert seen == {int(row): int(factors[LABELS[row]]) for row in TRAIN}


def test_copies_of_a_case_are_augmented_differently():
    made = batches(oversample="deterministic", batch=1000)
    batch = next(made.epoch(0))
    rare = int(TRAIN[LABELS[TRAIN] == 2][0])
    copies = batch.images[batch.indices == rare]
    assert len(copies) >= 3
    assert len({copy.numpy().tobytes() for copy in copies}) > 1


def test_every_place_of_every_epoch_under_every_seed_is_augmented_by_itself():
    """One case over and over: whatever was augmented as another one was would be there twice."""
    augment, again = Augment(preset="none", speckle={"p": 1.0}), np.full(20, TRAIN[0])
    made = [
        image.numpy().tobytes()
        for seed in (0, 1)
        for number in (1, 2)
        for batch in Batches(
            READY, MASKS, LABELS, again, batch=8, classes=3, augment=augment, seed=seed
        ).epoch(number)
        for image in batch.images
    ]
    assert len(made) == len(set(made)) == 80


def test_random_oversampling_evens_the_classes_at_the_same_length():
    labels = np.repeat([0, 1, 2], [30, 8, 3])
    made = Batches(READY, MASKS, labels, np.arange(41), batch=8, classes=3, oversample="random")
    drawn = torch.cat([batch.labels for number in range(30) for batch in made.epoch(number)])
    assert len(drawn) == 30 * 41
    assert np.bincount(drawn.numpy()) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.05)


def test_leaving_an_epoch_early_leaves_no_thread_behind():
    before = threading.active_count()
    epoch = batches(threads=3).epoch(0)
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_an_error_in_a_thread_reaches_the_loop():
    wrong = Batches(READY, MASKS[:5], LABELS, TRAIN, batch=8, classes=3, threads=2)
    with pytest.raises(IndexError):
        list(wrong.epoch(0))
