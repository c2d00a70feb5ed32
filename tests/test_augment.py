"""Augmentation moves image and mask together, keeps masks binary, and follows its seed alone."""

import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from engine.data.augment import pipeline
from engine.data.phantom import CLASSES, generate
from engine.spec.augment import PRESETS, Augment

SIZE = 64
IMAGES, MASKS, LABELS = generate(12, SIZE, CLASSES, 2)
LESION = int(np.flatnonzero(LABELS == 0)[0])
MASK = MASKS[LESION]
IMAGE = ((IMAGES[LESION] - 120.0) / 40.0).astype(np.float32)[:, :, None]
TWO = np.concatenate([IMAGE, np.abs(IMAGE)], axis=2)
GEOMETRY = ("flip_horizontal", "flip_vertical", "rotation", "scale", "crop", "elastic")
TONES = ("brightness_contrast", "gamma", "colour_jitter", "blur", "speckle", "dropout")
NAMES = (*GEOMETRY, *TONES)


def only(**changes: dict) -> Augment:
    return Augment.model_validate({"preset": "none"} | changes)


def test_an_identity_pipeline_is_exact():
    image, mask = pipeline(only(), SIZE)(TWO, MASK, 3)
    assert np.array_equal(image, TWO)
    assert np.array_equal(mask, MASK)


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fire_changes_nothing(name):
    apply = pipeline(only(**{name: {"p": 1e-9}}), SIZE)
    image, mask = apply(TWO, MASK, 3)
    assert np.array_equal(image, TWO)
    assert np.array_equal(mask, MASK)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image", [IMAGE, TWO], ids=["grey", "grey and derivative"])
def test_each_change_keeps_shapes_and_a_binary_mask_and_follows_its_seed(name, image):
    apply = pipeline(only(**{name: {"p": 1.0}}), SIZE)
    first, mask = apply(image, MASK, 11)
    again, mask_again = pipeline(only(**{name: {"p": 1.0}}), SIZE)(image, MASK, 11)
    assert (first.shape, first.dtype) == (image.shape, np.float32)
    assert (mask.shape, mask.dtype) == (MASK.shape, np.uint8)
    assert set(np.unique(mask)) <= {0, 1}
    assert np.array_equal(first, again)
    assert np.array_equal(mask, mask_again)
    assert not np.array_equal(first, image)


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("flip")])
def test_another_seed_changes_otherwise(name):
    apply = pipeline(only(**{name: {"p": 1.0}}), SIZE)
    assert not np.array_equal(apply(IMAGE, MASK, 1)[0], apply(IMAGE, MASK, 2)[0])


@pytest.mark.parametrize(
    ("name", "strength"), [("speckle", {"low": 0.2, "high": 0.2}), ("elastic", {"low": 0.02, "high": 0.02})]
)
def test_a_noise_of_one_strength_has_another_pattern_under_another_seed(name, strength):
    apply = pipeline(only(**{name: {"p": 1.0} | strength}), SIZE)
    assert not np.allclose(apply(IMAGE, MASK, 1)[0], apply(IMAGE, MASK, 2)[0], atol=1e-3)


def test_a_result_depends_on_its_own_seed_and_not_on_the_calls_before():
    every = only(**{name: {"p": 0.5} for name in NAMES})
    fresh = pipeline(every, SIZE)(TWO, MASK, 5)
    used = pipeline(every, SIZE)
    for seed in range(4):
        used(TWO, MASK, seed)
    for first, second in zip(fresh, used(TWO, MASK, 5), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", TONES)
def test_greys_change_alone(name):
    image, mask = pipeline(only(**{name: {"p": 1.0}}), SIZE)(TWO, MASK, 4)
    assert np.array_equal(mask, MASK)
    assert np.array_equal(image[:, :, 1], TWO[:, :, 1])
    assert image.min() >= TWO[:, :, 0].min() - 1e-4
    assert image[:, :, 0].max() <= TWO[:, :, 0].max() + 1e-4


@pytest.mark.parametrize("name", TONES)
def test_the_strength_of_a_grey_change_does_not_depend_on_normalisation(name):
    apply = pipeline(only(**{name: {"p": 1.0}}), SIZE)
    one, other = apply(IMAGE, MASK, 4)[0], apply(IMAGE * 3 + 7, MASK, 4)[0]
    assert np.allclose(one * 3 + 7, other, atol=1e-3)


@pytest.mark.parametrize("name", ["brightness_contrast", "colour_jitter"])
@pytest.mark.parametrize("changed", ["brightness", "contrast"])
def test_brightness_moves_all_greys_alike_and_contrast_moves_them_apart(name, changed):
    strength = {"brightness": 0.0, "contrast": 0.0} | {changed: 0.2}
    apply = pipeline(only(**{name: {"p": 1.0} | strength}), SIZE)
    greys = np.full((SIZE, SIZE, 1), 0.5, np.float32)
    greys[0], greys[-1], greys[10:20], greys[20:30] = 0.0, 1.0, 0.4, 0.6
    dark, light = np.transpose([apply(greys, MASK, seed)[0][[15, 25], 0, 0] for seed in range(20)])
    apart = light / dark if name == "colour_jitter" else light - dark
    assert np.ptp(light) > 0.02
    assert (np.ptp(apart) < 1e-3) == (changed == "brightness")


def test_a_scaled_picture_keeps_its_proportions():
    dot = np.zeros((SIZE, SIZE), np.uint8)
    dot[24:40, 24:40] = 1
    apply = pipeline(only(scale={"p": 1.0, "low": 0.5, "high": 1.5}), SIZE)
    for seed in range(8):
        down, across = np.nonzero(apply(IMAGE, dot, seed)[1])
        assert abs(np.ptp(down) - np.ptp(across)) <= 1


def spread(image: np.ndarray) -> float:
    """Deviation of the point that lies in the middle of nothing."""
    along = image[:, :, 0].sum(0)
    places = np.arange(SIZE) - SIZE // 2
    return float(np.sqrt((along * places**2).sum() / along.sum()))


def point() -> np.ndarray:
    image = np.zeros((SIZE, SIZE, 1), np.float32)
    image[SIZE // 2, SIZE // 2] = 1
    return image


RAMP = np.tile(np.linspace(0, 1, SIZE, dtype=np.float32)[None, :, None], (SIZE, 1, 1))
SQUARE = np.pad(np.ones((16, 16), np.uint8), 24)
EDGED = np.pad(np.full((SIZE - 2, SIZE, 1), 0.5, np.float32), ((1, 1), (0, 0), (0, 0)))
EDGED[-1] = 1.0
HOLE = {"low": 0.1, "high": 0.5, "holes": 1}
DRAWN = {
    "scale": (RAMP, {"low": 0.5, "high": 2.0}, lambda image, mask: np.sqrt(mask.sum()) / 16),
    "centre crop": (RAMP, {"kind": "centre", "low": 0.5, "high": 1.0}, lambda image, mask: np.ptp(image)),
    "random crop": (RAMP, {"kind": "random", "low": 0.5, "high": 1.0}, lambda image, mask: np.ptp(image)),
    "gamma": (EDGED, {"low": 0.5, "high": 2.0}, lambda image, mask: -np.log2(image[9, 9, 0])),
    "blur": (point(), {"low": 0.6, "high": 2.0}, lambda image, mask: spread(image)),
    "speckle": (EDGED, {"low": 0.05, "high": 0.2}, lambda image, mask: 2 * image[1:-1].std()),
    "height of dropout": (EDGED, HOLE, lambda image, mask: (image[1:-1, :, 0] == 0).any(1).mean()),
    "width of dropout": (EDGED, HOLE, lambda image, mask: (image[1:-1, :, 0] == 0).any(0).mean()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_strengths_are_drawn_from_the_whole_range_and_no_further(name):
    image, limits, measured = DRAWN[name]
    apply = pipeline(only(**{name.split()[-1]: {"p": 1.0} | limits}), SIZE)
    found = np.array([measured(*apply(image, SQUARE, seed)) for seed in range(60)])
    low, high = limits["low"], limits["high"]
    assert found.min() == pytest.approx(low, abs=0.15 * (high - low))
    assert found.max() == pytest.approx(high, abs=0.15 * (high - low))


def test_dropout_makes_up_to_as_many_holes_as_it_says():
    white = np.ones((SIZE, SIZE, 1), np.float32)
    white[0, 0] = 0.5
    apply = pipeline(only(dropout={"p": 1.0, "holes": 3, "low": 0.05, "high": 0.05}), SIZE)
    counts = {ndimage.label(apply(white, MASK, seed)[0][1:, 1:, 0] < 1)[1] for seed in range(30)}
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("name", TONES)
def test_an_image_of_one_grey_stays_finite(name):
    flat = np.full((SIZE, SIZE, 1), 0.3, np.float32)
    assert np.isfinite(pipeline(only(**{name: {"p": 1.0}}), SIZE)(flat, MASK, 4)[0]).all()


@pytest.mark.parametrize("name", ["flip_horizontal", "flip_vertical"])
def test_a_mask_keeps_its_area_under_flips(name):
    axis = {"flip_horizontal": 1, "flip_vertical": 0}[name]
    image, mask = pipeline(only(**{name: {"p": 1.0}}), SIZE)(TWO, MASK, 0)
    assert np.array_equal(mask, np.flip(MASK, axis))
    assert np.array_equal(image, np.flip(TWO, axis))


@pytest.mark.parametrize("degrees", [90.0, 180.0])
def test_a_mask_keeps_its_area_under_quarter_turns(degrees):
    apply = pipeline(only(rotation={"p": 1.0, "low": degrees, "high": degrees}), SIZE)
    turns = [np.rot90(MASK, quarter) for quarter in (1, 2, 3)]
    for seed in range(6):
        image, mask = apply(IMAGE, MASK, seed)
        assert mask.sum() == MASK.sum()
        assert any(np.array_equal(mask, turn) for turn in turns)
        assert any(np.allclose(image, np.rot90(IMAGE, quarter), atol=1e-3) for quarter in (1, 2, 3))


@pytest.mark.parametrize("name", GEOMETRY)
def test_image_and_mask_move_together(name):
    shown = MASK.astype(np.float32)[:, :, None]
    for seed in range(5):
        image, mask = pipeline(only(**{name: {"p": 1.0}}), SIZE)(shown, MASK, seed)
        assert np.mean((image[:, :, 0] > 0.5) != mask) < 0.02


@pytest.mark.parametrize("kind", ["centre", "random"])
def test_a_crop_shifts_no_mask_against_its_image(kind):
    """Half a pixel to one side in every image is an outline that a network learns to draw."""
    dot = np.zeros((SIZE, SIZE), np.uint8)
    dot[28:36, 28:36] = 1
    apply = pipeline(only(crop={"p": 1.0, "kind": kind, "low": 0.8, "high": 0.9}), SIZE)
    middle = lambda area: np.argwhere(area).mean(0)  # noqa: E731
    shifts = []
    for seed in range(60):
        image, mask = apply(dot.astype(np.float32)[:, :, None], dot, seed)
        shifts.append(middle(mask) - middle(image[:, :, 0] > 0.5))
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1


@pytest.mark.parametrize("name", ["rotation", "scale"])
def test_what_comes_in_from_outside_is_black_in_every_channel(name):
    strength = {"rotation": {"low": 45.0, "high": 45.0}, "scale": {"low": 0.5, "high": 0.5}}[name]
    image, mask = pipeline(only(**{name: {"p": 1.0} | strength}), SIZE)(TWO + 5, MASK, 0)
    assert image[0, 0] == pytest.approx((TWO + 5).min((0, 1)))
    assert mask[0, 0] == 0


def test_a_rotation_never_stays_below_its_lower_limit():
    apply = pipeline(only(rotation={"p": 1.0, "low": 10.0, "high": 30.0}), SIZE)
    bar = np.zeros((SIZE, SIZE), np.uint8)
    bar[31:33] = 1
    angles = []
    for seed in range(40):
        down, across = np.nonzero(apply(IMAGE, bar, seed)[1])
        angles.append(np.degrees(np.arctan(np.polyfit(across, down, 1)[0])))
    assert np.abs(angles).min() > 8
    assert np.abs(angles).max() < 32
    assert min(angles) < 0 < max(angles)


def test_an_elastic_change_displaces_by_what_it_says():
    ramp = np.tile(np.arange(SIZE, dtype=np.float32)[None, :, None], (SIZE, 1, 1))
    apply = pipeline(only(elastic={"p": 1.0, "low": 0.02, "high": 0.02}), SIZE)
    inner = slice(8, -8)
    moved = [(apply(ramp, MASK, seed)[0] - ramp)[inner, inner] for seed in range(40)]
    assert np.sqrt(np.mean(np.square(moved))) == pytest.approx(0.02 * SIZE, rel=0.2)


def test_a_centre_crop_enlarges_and_a_random_one_also_moves():
    dot = np.zeros((SIZE, SIZE), np.uint8)
    dot[28:36, 28:36] = 1
    middle = lambda mask: tuple(float(np.mean(axis)) for axis in np.nonzero(mask))  # noqa: E731
    for kind, still in (("centre", True), ("random", False)):
        apply = pipeline(only(crop={"p": 1.0, "kind": kind, "low": 0.7, "high": 0.7}), SIZE)
        masks = [apply(IMAGE, dot, seed)[1] for seed in range(6)]
        assert all(mask.sum() > 1.5 * dot.sum() for mask in masks)
        assert all(np.hypot(*np.subtract(middle(mask), 31.5)) < 1.0 for mask in masks) == still


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_runs_and_moves_image_and_mask(preset):
    apply = pipeline(Augment(preset=preset), SIZE)
    results = [apply(TWO, MASK, seed) for seed in range(8)]
    assert all(image.shape == TWO.shape and np.isfinite(image).all() for image, _ in results)
    assert any(not np.array_equal(image, TWO) for image, _ in results) == (preset != "none")


def test_the_presets_are_those_of_the_papers():
    chances = {name: {n: getattr(Augment(preset=name), n).p for n in NAMES} for name in PRESETS}
    fires = {name: {n for n, p in row.items() if p > 0} for name, row in chances.items()}
    flips = {"flip_horizontal", "flip_vertical"}
    assert fires["none"] == set()
    assert fires["mtl_oca"] == {*flips, "rotation", "crop", "brightness_contrast"}
    assert fires["refining"] == fires["acsnet"] == {*flips, "rotation"}
    assert fires["two_stage"] == {*flips, "rotation", "colour_jitter", "blur"}
    assert Augment(preset="mtl_oca").rotation.high == 45
    assert Augment(preset="mtl_oca").crop.p == 0.5
    assert Augment(preset="refining").rotation.high == 180
    assert (Augment(preset="acsnet").rotation.low, Augment(preset="acsnet").rotation.high) == (10, 30)


def test_what_is_written_wins_over_the_preset():
    spec = Augment.model_validate({"preset": "mtl_oca", "rotation": {"high": 20.0}, "gamma": {"p": 0.1}})
    assert (spec.rotation.p, spec.rotation.high) == (1.0, 20.0)
    assert spec.gamma.p == 0.1
    assert spec.flip_vertical.p == 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_a_written_out_spec_reads_back_the_same(preset):
    spec = Augment.model_validate({"preset": preset, "blur": {"p": 0.0}})
    assert Augment.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


@pytest.mark.parametrize(
    "bad",
    [
        {"preset": "heavy"},
        {"rotation": {"p": 1.5}},
        {"rotation": {"low": 30.0, "high": 10.0}},
        {"rotation": {"high": 200.0}},
        {"rotation": 3},
        {"crop": {"kind": "corner"}},
        {"mixup": {"p": 1.0}},
    ],
)
def test_impossible_augmentations_are_refused_by_the_spec(bad):
    with pytest.raises(ValidationError):
        Augment.model_validate(bad)


def test_albumentations_is_not_imported_before_it_is_needed():
    code = "import sys, engine.data.augment; print('albumentations' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "False"
