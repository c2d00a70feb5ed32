"""What a network says of cases, and the rows that these become: whoever stands beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.data.cases import Pack
from engine.data.load import load
from engine.spec.load import study_of
from engine.training.evaluate import Outputs, outputs, score_cases
from engine.training.network import Network, build_network
from engine.training.numerics import Numerics
from tests.one_fold import DOCUMENT

torch.set_num_threads(1)
LOSS = {"class_weights": (0.1, 1.0, 10.0), "classification": "cross_entropy"}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study_of(DOCUMENT, "test").fixed.data, tmp_path_factory.mktemp("cache"))


def network_of(pack: Pack, **sections: object) -> Network:
    configuration = study_of(DOCUMENT | sections, "test").configuration({})
    torch.manual_seed(0)
    return build_network(configuration, 1, np.bincount(pack.labels), 64, Numerics("cpu", "off", 1))


def seen(pack: Pack) -> np.ndarray:
    return pack.images[..., None].astype(np.float32) / 255


def test_answers_and_losses_do_not_depend_on_how_many_cases_are_looked_at_at_a_time(pack: Pack) -> None:
    network, rows = network_of(pack, loss=LOSS), np.arange(3, 20)
    whole, parts = (outputs(network, seen(pack), rows, pack, batch) for batch in (17, 5))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    for ours, theirs in ((parts.masks, whole.masks), (parts.classes, whole.classes)):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_of_several_masks_the_final_one_is_the_answer(pack: Pack) -> None:
    network = network_of(pack, model={"name": "u2net_lite", "width": 2, "deep_supervision": True})
    images = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    found = outputs(network, images, np.arange(2)).masks
    masks = network.predict(torch.from_numpy(images).permute(0, 3, 1, 2)).masks
    assert not torch.equal(masks[0], masks[-1])
    assert found is not None
    assert np.array_equal(found, torch.sigmoid(masks[-1])[:, 0].numpy())


def test_a_pixel_at_the_threshold_is_no_lesion(pack: Pack) -> None:
    masks = np.full((2, 32, 32), 0.5, np.float32)
    masks[1, :4, :4] = 0.51
    table = score_cases(pack, Outputs(np.arange(2), masks, None, {}), 0.5, surface=False).to_pylist()
    assert [row["tp"] + row["fp"] for row in table] == [0, 16]


def test_one_lost_pixel_or_probability_makes_a_case_a_lost_one() -> None:
    masks, classes = np.zeros((4, 8, 8), np.float32), np.zeros((4, 3), np.float32)
    masks[1, 2, 3] = classes[1, 0] = classes[3, 2] = np.nan
    assert Outputs(np.arange(4), masks, classes, {}).lost == 2
    assert Outputs(np.arange(4), masks, None, {}).lost == 1


def test_a_case_has_its_own_row_whichever_others_are_scored(pack: Pack) -> None:
    count = len(pack)
    sizes = np.arange(2 * count, dtype=np.int32).reshape(count, 2) + 40
    own = replace(pack, sizes=sizes, spacing=np.linspace(0.05, 0.1, count))
    chance = np.random.default_rng(0)
    masks = chance.random(pack.masks.shape, np.float32)
    classes = chance.dirichlet([1, 1, 1], count).astype(np.float32)
    every = score_cases(own, Outputs(np.arange(count), masks, classes, {}), 0.9, surface=True).to_pylist()
    rows = np.array([7, 2, 30])
    some = score_cases(own, Outputs(rows, masks[rows], classes[rows], {}), 0.9, surface=True).to_pylist()
    assert repr(some) == repr([every[row] for row in rows])


def test_cases_that_share_a_patient_or_are_alike_go_by_the_first_ones_name(pack: Pack) -> None:
    """Also where the one ties two others together: a patient's second picture is a duplicate of a third."""
    nobody: list[str | None] = [None] * len(pack)
    patients, groups = nobody.copy(), nobody.copy()
    patients[3] = patients[5] = "p"
    groups[5] = groups[9] = "g"
    tied = replace(pack, patients=tuple(patients), groups=tuple(groups))
    rows = np.arange(len(pack))
    table = score_cases(tied, Outputs(rows, pack.masks.astype(np.float32), None, {}), 0.5, surface=False)
    wanted = list(pack.cases)
    wanted[5] = wanted[9] = pack.cases[3]
    assert table["cluster"].to_pylist() == wanted
