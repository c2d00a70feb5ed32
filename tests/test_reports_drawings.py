"""What drawings must not suggest."""

from reports import learning, pareto, slices


def test_one_epoch_is_marked_as_one() -> None:
    row = {"config_id": "c", "stage": "main", "column": "validation_dice", "mean": 0.5, "std": 0.1}
    (figure,) = learning.figures([row | {"epoch": 1, "folds": 2}], "c")
    assert ">1</text>" in figure.svg
    assert ">0.950</text>" not in figure.svg


def test_a_front_of_three_metrics_is_not_drawn_as_one_of_two() -> None:
    rows = [
        {"config_id": f"c{n}", "front": True, "dice": 0.1 * n, "f1_macro": n % 2, "ece": n / 9}
        for n in range(4)
    ]
    two = pareto.front_figure(rows, ("dice", "f1_macro"), None)
    three = pareto.front_figure(rows, ("dice", "f1_macro", "ece"), None)
    assert three.svg.count("<path") < two.svg.count("<path")
    assert three.note == "A member that looks dominated is not by ECE."
    assert not two.note


def test_the_path_of_a_second_stage_does_not_run_into_its_neighbour() -> None:
    long = "model.two_stage.classify.augment.brightness_contrast.brightness"
    assert slices.broken(long).splitlines() == [
        "model.two_stage.classify.augment.",
        "brightness_contrast.brightness",
    ]
    row = {"config_id": "c", "score_mean": 0.5, "score_std": 0.1, long: 0.2}
    assert f">{long}<" not in slices.slice_figure([row, row | {long: 0.3}], [long], None, ()).svg
    assert slices.broken("train.lr") == "train.lr"
