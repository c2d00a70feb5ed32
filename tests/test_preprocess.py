"""Preprocessing does what its names say and looks at training cases only."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from engine.data import preprocess
from engine.data.phantom import CLASSES, generate
from engine.data.preprocess import gradient_magnitude, prepare
from engine.spec.preprocess import Preprocess

IMAGES = generate(24, 48, CLASSES, 1)[0]
ALL = np.arange(24)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3, 4.0])
def test_the_derivative_channel_is_that_of_scipy(sigma):
    image = IMAGES[0].astype(np.float32) / 255
    expected = ndimage.gaussian_gradient_magnitude(image.astype(np.float64), sigma, mode="reflect")
    assert np.allclose(gradient_magnitude(image, sigma), expected, atol=2e-3 * expected.max())


def test_a_sharp_step_gives_an_edge_of_one():
    step = np.zeros((1, 64, 64), np.uint8)
    step[:, :, 32:] = 255
    edge = prepare(step, Preprocess(normalise="unit", derivative=2.0), np.array([0]))[0, :, :, 1]
    assert edge.max() == pytest.approx(1.0, abs=0.05)
    assert edge[:, :20].max() < 0.01


def test_unit_images_are_the_greys_over_255():
    ready = prepare(IMAGES, Preprocess(normalise="unit"), ALL)
    assert ready.shape == (24, 48, 48, 1)
    assert ready.dtype == np.float32
    assert np.array_equal(ready[..., 0], IMAGES.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("derivative", [0.0, 1.5])
def test_each_image_is_normalised_by_itself(derivative):
    ready = prepare(IMAGES, Preprocess(normalise="image", derivative=derivative), ALL[:2])
    assert np.allclose(ready.mean((1, 2)), 0, atol=1e-5)
    assert np.allclose(ready.std((1, 2)), 1, atol=1e-4)


def test_data_set_figures_come_from_training_cases_only():
    spec, training = Preprocess(normalise="dataset", derivative=1.0), np.arange(0, 24, 2)
    ready = prepare(IMAGES, spec, training)
    assert np.allclose(ready[training].mean((0, 1, 2)), 0, atol=1e-5)
    assert np.allclose(ready[training].std((0, 1, 2)), 1, atol=1e-4)
    others = IMAGES.copy()
    others[1::2] = 255 - others[1::2]
    assert np.array_equal(prepare(others, spec, training)[training], ready[training])


def test_a_constant_image_becomes_zero_and_not_infinite():
    flat = np.full((2, 32, 32), 77, np.uint8)
    for how in ("image", "dataset"):
        ready = prepare(flat, Preprocess(normalise=how, derivative=1.0), np.array([0]))
        assert np.allclose(ready, 0, atol=1e-3)


@pytest.mark.parametrize("how", ["median", "bilateral"])
def test_denoising_takes_noise_and_keeps_edges(how):
    clean = np.zeros((1, 48, 48), np.uint8) + 60
    clean[:, :, 24:] = 180
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    spec = Preprocess(normalise="unit", denoise=how, denoise_size=5, denoise_range=0.2)
    ready = prepare(noisy, spec, np.array([0]))[0, :, :, 0] * 255
    assert ready[:, :20].std() < 0.75 * noisy[0, :, :20].std()
    assert ready[:, 28:].mean() - ready[:, :20].mean() == pytest.approx(120, abs=4)


def test_clahe_raises_the_contrast_of_a_dull_image():
    dull = (IMAGES // 4 + 90).astype(np.uint8)
    ready = prepare(dull, Preprocess(normalise="unit", clahe=4.0, clahe_tiles=4), ALL)
    assert ready.std() > 1.5 * (dull / 255).std()


def test_filters_are_run_once_for_all_folds(monkeypatch):
    runs = []
    work = preprocess.channels
    monkeypatch.setattr(preprocess, "channels", lambda *a: runs.append(1) or work(*a))
    images = generate(12, 32, CLASSES, 99)[0]
    for training in (np.arange(6), np.arange(6, 12)):
        prepare(images, Preprocess(normalise="dataset", clahe=2.0), training)
    assert len(runs) == 12
    prepare(255 - images, Preprocess(normalise="dataset", clahe=2.0), training)
    assert len(runs) == 24


def test_what_was_used_last_is_filtered_no_second_time(monkeypatch):
    runs, image = [], generate(3, 32, CLASSES, 98)[0][:1]
    monkeypatch.setattr(
        preprocess, "channels", lambda image, spec: runs.append(spec.clahe) or image[..., None]
    )
    for clahe in (1.0, 2.0, 1.0, 3.0, 1.0, 3.0, 2.0):
        prepare(image, Preprocess(normalise="unit", clahe=clahe), ALL)
    assert runs == [1.0, 2.0, 3.0, 2.0]


def test_images_of_the_same_bytes_and_another_shape_are_others():
    flat = np.zeros((2, 32, 48), np.uint8)
    for shape in ((2, 32, 48), (2, 48, 32)):
        assert prepare(flat.reshape(shape), Preprocess(normalise="unit"), ALL).shape == (*shape, 1)


@pytest.mark.parametrize(
    "change",
    [{"denoise": "median", "denoise_size": 3}, {"denoise_size": 7}, {"denoise_range": 0.5}, {"clahe": 0.5},
     {"clahe": 8.0}, {"clahe": 2.0, "clahe_tiles": 2}],
)  # fmt: skip
def test_every_setting_of_a_filter_tells(change):
    given = {"normalise": "unit", "denoise": "bilateral", "denoise_size": 5, "denoise_range": 0.1}
    plain = prepare(IMAGES[:2], Preprocess(**given, clahe=2.0 if "clahe_tiles" in change else 0.0), ALL)
    assert not np.array_equal(prepare(IMAGES[:2], Preprocess(**given | change), ALL), plain)


def test_only_figures_of_the_data_set_go_with_a_network():
    assert preprocess.training_scale(IMAGES, Preprocess(normalise="image"), ALL) is None
    spec, training = Preprocess(normalise="dataset", derivative=1.0), np.arange(5)
    mean, deviation = preprocess.training_scale(IMAGES, spec, training)
    unit = prepare(IMAGES, Preprocess(normalise="unit", derivative=1.0), ALL)
    assert np.allclose((unit - mean) / deviation, prepare(IMAGES, spec, training), atol=1e-5)


def test_writing_to_what_was_prepared_spoils_nothing():
    spec = Preprocess(normalise="unit")
    first = prepare(IMAGES, spec, ALL)
    first[:] = -1
    assert prepare(IMAGES, spec, ALL).min() >= 0


@pytest.mark.parametrize(
    "bad", [{"denoise_size": 4}, {"clahe": -1}, {"derivative": 99}, {"normalise": "z"}, {"x": 1}]
)
def test_impossible_recipes_are_refused_by_the_spec(bad):
    with pytest.raises(ValidationError):
        Preprocess(**bad)
