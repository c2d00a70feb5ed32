"""What the second stage sees of the mask that the first has drawn."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.models.contract import Prediction
from engine.models.staged import Fed, TwoStages


def fed(feed: Any, margin: float = 0.0) -> Fed:
    return Fed(nn.Identity(), feed, margin)


def test_a_channel_adds_the_mask_and_an_overlay_brightens_the_lesion_alone() -> None:
    x = torch.rand(2, 2, 8, 8)
    x[:, 1] = 0
    x[:, 1, 2:4, 2:4] = 1
    assert torch.equal(fed("channel").shown(x), x)
    over = fed("overlay").shown(x)
    changed = over[:, 0] != x[:, 0]
    assert not changed[x[:, 1] == 0].any()
    assert (over >= x[:, :1]).all()


def test_a_crop_shows_the_lesion_and_the_whole_image_where_there_is_none() -> None:
    x = torch.zeros(2, 2, 8, 8)
    x[0, :, 4:6, 4:6] = 1
    x[1, 0] = torch.rand(8, 8)
    shown = fed("crop").shown(x)
    assert (shown[0, 0, 2:6, 2:6] == 1).all()
    assert shown[0].mean() > 0.75  # its rim is mixed with what lies around it
    assert torch.allclose(shown[1], x[1, :1], atol=1e-6)
    assert shown.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("margin", "shown"), [(0.0, 8), (0.25, 12), (0.5, 16), (2.0, 40)])
def test_a_crop_leaves_its_margin_on_each_side_of_the_lesion(margin: float, shown: int) -> None:
    """In shares of the longer side, here of 8 pixels; a ramp tells how many columns and rows are seen."""
    ramp = torch.linspace(0.5 / 64, 1 - 0.5 / 64, 64)
    for image in (ramp.expand(64, 64), ramp[:, None].expand(64, 64)):
        mask = torch.zeros(64, 64)
        mask[30:34, 28:36] = 1
        seen = fed("crop", margin).shown(torch.stack([image, mask])[None])
        step = float(seen.amax() - seen.amin()) / 63
        assert 64 * 64 * step == pytest.approx(shown, rel=1e-3)


@pytest.mark.parametrize("feed", ["channel", "overlay"])
def test_a_mask_that_was_moved_between_its_pixels_is_cut_at_a_half(feed: str) -> None:
    x = torch.rand(1, 2, 2, 2)
    x[0, 1] = torch.tensor([[0.0, 0.4], [0.6, 1.0]])
    whole = x.clone()
    whole[0, 1] = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert torch.equal(fed(feed).shown(x), fed(feed).shown(whole))


def test_the_heat_of_a_crop_lies_on_the_lesion_it_was_cut_to() -> None:
    def lesion(x: Tensor) -> Prediction:
        mask = torch.full((1, 1, 8, 8), -9.0)
        mask[..., 4:6, 2:4] = 9.0
        return Prediction([mask], None, {})

    segmenter = nn.Identity()
    segmenter.forward = lesion  # type: ignore[assignment,method-assign]
    stages = TwoStages(segmenter, fed("crop"), 0.5)
    placed = stages.placed(torch.ones(1, 8, 8), torch.rand(1, 1, 8, 8))
    assert torch.equal(placed[0, 4:6, 2:4], torch.ones(2, 2))
    assert placed.sum() == 4
