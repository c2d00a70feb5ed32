"""Which cases a report shows, and what it says of the choice."""

import numpy as np
import pyarrow as pa

from engine.training.gallery import _chosen

CLASSES = ("benign", "malignant", "normal")


def cases(dice: list[float], probability: list[float]) -> pa.Table:
    """All are malignant; so sure of that was the network."""
    rest = [[(1 - p) / 2, p, (1 - p) / 2] for p in probability]
    size = len(dice)
    return pa.table({
        "dice": pa.array(dice), "tp": pa.array([5] * size), "fn": pa.array([1] * size),
        "label": pa.array(["malignant"] * size), "probabilities": pa.array(rest),
    })  # fmt: skip


def test_a_classifier_shows_what_it_was_surest_of_rightly_and_wrongly() -> None:
    sure = [0.5, 0.9, 0.1, 0.7, 0.3, 0.95, 0.6]
    chosen = _chosen(cases([np.nan] * 7, sure), CLASSES)
    ranks = {rank: [position for name, position in chosen if name == rank] for rank, _ in chosen}
    assert ranks == {"best": [5, 1], "median": [3, 6], "worst": [4, 2]}


def test_with_masks_the_dice_decides() -> None:
    chosen = _chosen(cases([0.2, 0.9, 0.5], [0.9, 0.1, 0.5]), CLASSES)
    assert chosen[0] == ("best", 1)
    assert 0 in [position for _, position in chosen[-2:]]


def test_without_a_figure_to_rank_by_cases_are_still_shown() -> None:
    """A segmenter whose test part holds no lesion at all."""
    table = cases([np.nan] * 5, [0.5] * 5)
    nothing = pa.nulls(5, pa.list_(pa.float64()))
    table = table.set_column(table.column_names.index("probabilities"), "probabilities", nothing)
    assert len(_chosen(table, CLASSES)) == 5
