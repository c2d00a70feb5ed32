"""Phantoms are reproducible, fast, and show the physics that tells their classes apart."""

import time

import numpy as np
import pytest

from engine.data.phantom import CLASSES, generate
from engine.errors import SonotuneError


@pytest.fixture(scope="module")
def many():
    return generate(400, 64, CLASSES, 3)


def test_the_same_seed_gives_the_same_images():
    for first, second in zip(generate(70, 32, CLASSES, 5), generate(70, 32, CLASSES, 5), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(generate(70, 32, CLASSES, 5)[0], generate(70, 32, CLASSES, 6)[0])


def test_arrays_have_the_packed_types(many):
    images, masks, labels = many
    assert images.shape == masks.shape == (400, 64, 64)
    assert (images.dtype, masks.dtype, labels.dtype) == (np.uint8, np.uint8, np.int64)
    assert set(np.unique(masks)) == {0, 1}


def test_normals_have_no_lesion_and_all_others_have_one(many):
    _, masks, labels = many
    areas = masks.reshape(400, -1).sum(1)
    assert not areas[labels == 2].any()
    assert areas[labels != 2].min() >= 20


def test_classes_can_be_chosen_and_ordered():
    _, masks, labels = generate(30, 32, ("normal", "malignant"), 0)
    assert not masks[labels == 0].any()
    assert masks[labels == 1].reshape(np.sum(labels == 1), -1).any(1).all()


def test_every_class_has_its_share(many):
    assert np.bincount(many[2]).tolist() == pytest.approx([176, 128, 96], abs=3)
    assert np.bincount(generate(3, 32, CLASSES, 0)[2]).tolist() == [1, 1, 1]


def extent(mask: np.ndarray) -> tuple[float, float]:
    return tuple(np.ptp(np.nonzero(mask)[axis]) + 1 for axis in (0, 1))


def test_benign_lesions_lie_wider_than_tall_and_malignant_ones_stand(many):
    _, masks, labels = many
    taller = np.array([extent(mask)[0] > extent(mask)[1] for mask in masks[labels != 2]])
    kinds = labels[labels != 2]
    assert taller[kinds == 0].mean() < 0.25
    assert taller[kinds == 1].mean() > 0.6


def behind_and_beside(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean grey below the lesion less that at the same depth beside it."""
    down, across = np.nonzero(mask)
    below = slice(down.max() + 3, min(down.max() + 18, 62))
    inside = np.unique(across[np.abs(across - across.mean()) < across.std()])
    outside = np.setdiff1d(np.arange(64), np.arange(across.min() - 2, across.max() + 3))
    return float(image[below][:, inside].mean() - image[below][:, outside].mean())


def test_the_beam_is_enhanced_behind_benign_lesions_and_shadowed_behind_malignant_ones(many):
    images, masks, labels = many
    high = masks[:, 50:].sum((1, 2)) == 0  # lesions with something to be seen behind them
    change = [behind_and_beside(images[row], masks[row]) for row in np.flatnonzero(high & (labels != 2))]
    kinds = labels[high & (labels != 2)]
    assert np.mean(np.array(change)[kinds == 0]) > 8
    assert np.mean(np.array(change)[kinds == 1]) < -8


def test_speckle_is_grain_along_the_lateral_axis(many):
    """The point-spread function is wider across the beam than along it, so neighbours there agree more."""
    normal = many[0][many[2] == 2].astype(np.float64)
    normal -= normal.mean((1, 2), keepdims=True)
    along = np.mean(normal[:, 1:] * normal[:, :-1])
    across = np.mean(normal[:, :, 1:] * normal[:, :, :-1])
    assert across > along > 0


def test_generation_is_quick():
    generate(64, 64, CLASSES, 0)
    began = time.process_time()
    generate(256, 64, CLASSES, 1)
    assert 256 / (time.process_time() - began) > 400  # about 1,200 on an idle core


@pytest.mark.parametrize(
    ("count", "size", "classes", "message"),
    [
        (10, 64, ("benign", "cyst"), "must be distinct and of"),
        (10, 64, ("benign", "benign"), "must be distinct"),
        (10, 64, (), "must be distinct"),
        (2, 64, CLASSES, "at least one per class"),
        (10, 8, CLASSES, "at least 16 pixels, got 8"),
    ],
)
def test_impossible_phantoms_are_refused(count, size, classes, message):
    with pytest.raises(SonotuneError, match=message):
        generate(count, size, classes, 0)
