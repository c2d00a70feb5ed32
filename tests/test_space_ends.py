"""What a space allows at its ends and by chance, and what is laid over it."""

from typing import Any

import pytest

from engine.errors import SonotuneError
from engine.spec import text
from engine.spec.distribution import Distribution, Int, Uniform, value_at
from engine.spec.load import refuse_empty
from engine.spec.overrides import apply_overrides
from engine.spec.search import direction
from engine.spec.train import Train
from tests.test_space import study


@pytest.mark.parametrize(
    "high", [{"far": 60, "near": 30}, {"far": 60, "other": {"choice": {"far": 60, "near": 30}}}],
    ids=["a branch", "a branch of a branch"],
)  # fmt: skip
def test_an_end_in_a_branch_that_only_another_branch_refuses_is_found(high: dict[str, Any]) -> None:
    """Too rare for what is drawn by chance."""
    low = {"choice": {"none": 0, "some": {"uniform": [0, 30.0001]}}}
    with pytest.raises(SonotuneError, match="low must not exceed high"):
        study(augment={"rotation": {"p": 0.5, "low": low, "high": {"choice": high}}})


def test_values_that_contradict_each_other_by_chance_alone_are_found() -> None:
    """Each goes with the first of the other."""
    rotation = {"p": 0.5, "low": {"choice": [0, 30]}, "high": {"choice": [60, 10]}}
    with pytest.raises(SonotuneError, match="low must not exceed high"):
        study(augment={"rotation": rotation})


def test_one_configuration_may_be_trained_on_purpose() -> None:
    refuse_empty(study(search={"configs": 1}))
    with pytest.raises(SonotuneError, match="there is nothing to search"):
        refuse_empty(study(search={"configs": 2}))


def test_an_override_wins_over_a_profile() -> None:
    document = {"profiles": {"smoke": {"train.epochs": 2, "train.batch": 4}}}
    assert apply_overrides(document, "smoke", ["train.epochs=3"]) == {"train": {"epochs": 3, "batch": 4}}


def test_a_branch_exists_under_the_variants_that_leave_it_and_where_it_is_chosen() -> None:
    lr = {"choice": {"a": 0.1, "b": {"uniform": [0.2, 1]}}}
    variants = {"x": None, "y": {"train": {"lr": {"uniform": [0.01, 0.02]}}}}
    space = study(train={"lr": lr}, variants=variants).space
    there = [set(space.base(given)) - {"variants"} for given in
             ({"variants": "x"}, {"variants": "x", "train.lr": "b"}, {"variants": "y"})]  # fmt: skip
    assert there == [{"train.lr"}, {"train.lr", "train.lr.b"}, {"variants.y.train.lr"}]


@pytest.mark.parametrize("name", ["1e-3", "-1E5", "1.e3", "off", "0x10", "1_000", "007", "1:30", "null", "~"])
def test_a_text_that_looks_like_something_else_is_written_so_that_it_stays_a_text(name: str) -> None:
    """A variant's name or a data set's folder; a resume reads what a search has written."""
    document = {"study": "s", "data": {"root": name}, "variants": {name: {"train": {"lr": 0.001}}}}
    assert text.mapping(text.dump(document), "study.yaml") == document


def test_the_last_end_of_whole_numbers_is_one_that_its_steps_reach() -> None:
    stepped = Int(2, 9, 3)
    assert stepped.ends() == (2, 8)
    assert all(map(stepped.holds, stepped.ends()))
    assert not any(map(stepped.holds, (9, 11, 5.0, True)))
    space = study(train={"batch": {"int": [2, 9, 3]}}).space
    assert {params["train.batch"] for params in space.probes()} == {2, 8}


@pytest.mark.parametrize(
    ("distribution", "values"),
    [(Int(2, 9, 3), [2, 5, 8]), (Int(0, 2), [0, 1, 2]), (Uniform(1, 4), [1, 2, 3]),
     (Uniform(1, 1000, log=True), [1, 10, 100])],
)  # fmt: skip
def test_equal_shares_of_a_distribution_hold_its_values_evenly(
    distribution: Distribution, values: list[float]
) -> None:
    assert [value_at(distribution, third / 3) for third in range(3)] == pytest.approx(values)


def test_what_a_space_says_of_its_own_cases_goes_with_its_source() -> None:
    data = {"source": "busi", "root": "d", "size": 64, "keep": "curated", "ids": "i.csv", "groups": "g.csv"}
    changed = apply_overrides({"data": data}, None, ["data.source=udiat", "data.root=other"])
    assert changed["data"] == {"source": "udiat", "root": "other", "size": 64}
    assert apply_overrides({"data": data}, None, ["data.source=busi"])["data"] == data
    named = apply_overrides({"data": data}, None, ["data.groups=mine.csv", "data.source=udiat"])
    assert named["data"]["groups"] == "mine.csv"


@pytest.mark.parametrize(("optimizer", "read"), [("adam", True), ("adamw", True), ("sgd", False)])
def test_each_optimizer_reads_its_own_settings(optimizer: str, read: bool) -> None:
    unread = Train(optimizer=optimizer).unread
    assert ("betas" not in unread, "momentum" in unread) == (read, read)


@pytest.mark.parametrize(
    ("schedule", "read"), [("constant", False), ("cosine", True), ("plateau", False), ("lambda", True)]
)
def test_a_floor_is_read_by_the_schedules_that_fall_to_it(schedule: str, read: bool) -> None:
    assert ("lr_floor" not in Train(schedule=schedule).unread) == read


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [("dice", "maximize"), ("f1_malignant", "maximize"), ("incoherent", "minimize"), ("ece", "minimize"),
     ("refined_hd95_malignant", "minimize"), ("refined_dice", "maximize"), ("parameters", "minimize")],
)  # fmt: skip
def test_of_errors_and_costs_less_is_better(metric: str, wanted: str) -> None:
    assert direction(metric) == wanted
