"""What is said of one image: class and mask that agree, folds that differ, outlines, names."""

from pathlib import Path

import numpy as np
import pytest

from engine.predict.finding import disagreement, finding, judge
from engine.predict.overlay import outlined
from engine.predict.predict import restore
from engine.predict.written import names_of
from tests.predicted import CLASSES


@pytest.mark.parametrize(
    ("raw", "lesion", "refines", "final", "kept", "odd"),
    [
        (2, True, True, 2, False, True),  # said normal: the mask is emptied
        (2, True, False, 2, True, True),
        (0, False, True, 2, False, True),  # nothing drawn: said normal
        (0, False, False, 0, False, True),
        (0, True, True, 0, True, False),
        (2, False, True, 2, False, False),
    ],
)
def test_refinement_makes_class_and_mask_agree(
    raw: int, lesion: bool, refines: bool, final: int, kept: bool, odd: bool
) -> None:
    judged = judge(raw, np.full((4, 4), lesion, np.uint8), CLASSES, refines)
    assert judged.mask is not None
    assert (judged.final, bool(judged.mask.any()), judged.incoherent) == (final, kept, odd)


def test_one_task_alone_cannot_be_incoherent() -> None:
    assert judge(1, None, CLASSES, True).incoherent is None
    assert judge(None, np.ones((2, 2), np.uint8), CLASSES, True).incoherent is None


def test_folds_that_agree_do_not_differ_and_disjoint_ones_do() -> None:
    half = np.zeros((2, 4, 4))
    half[:, :2] = 1.0
    assert disagreement(half, 0.5) == 0.0
    assert disagreement(np.zeros((2, 4, 4)), 0.5) == 0.0
    half[1] = half[1, ::-1]
    assert disagreement(half, 0.5) == 1.0


def test_the_disagreement_on_a_class_is_on_the_one_that_the_networks_said() -> None:
    said = np.array([[0.6, 0.4, 0.0], [0.8, 0.2, 0.0]])
    judged = judge(0, np.zeros((4, 4), np.uint8), CLASSES, refines=True)
    found = finding("a.png", judged, said, None, CLASSES, 0.5)
    assert (found.raw_label, found.label) == ("benign", "normal")
    assert found.class_disagreement == pytest.approx(0.1)
    assert found.probabilities == pytest.approx({"benign": 0.7, "malignant": 0.3, "normal": 0.0})


@pytest.mark.parametrize(("shape", "aspect"), [((40, 60), "pad"), ((61, 40), "pad"), ((40, 60), "stretch")])
def test_a_square_is_taken_back_to_where_it_came_from(shape: tuple[int, int], aspect: str) -> None:
    from engine.data.pack import pad, resize_image

    image = np.zeros(shape, np.uint8)
    image[10:30, 15:35] = 255
    square = resize_image(pad(image) if aspect == "pad" else image, 64).astype(np.float32) / 255
    back = restore(square, shape, aspect) > 0.5
    assert back.shape == shape
    assert (back != (image > 0)).mean() < 0.02


def test_an_outline_shows_holes_and_leaves_a_long_thin_image_to_be_seen() -> None:
    ring = np.zeros((40, 3000), np.uint8)
    ring[5:35, 100:2900] = 1
    ring[15:25, 1000:2000] = 0
    drawn = outlined(np.zeros(ring.shape, np.uint8), ring).any(axis=2)
    assert drawn[14, 1000:2000].all()  # the hole's edge
    assert drawn.mean() < 0.1


def test_only_the_extensions_of_images_are_taken_off_a_name() -> None:
    given = ["1.2.840.1", "1.2.840.2", "scan.PNG", "scan.tif", "a.b.jpeg"]
    assert list(names_of(list(map(Path, given)))) == ["1.2.840.1", "1.2.840.2", "scan", "scan-2", "a.b"]
