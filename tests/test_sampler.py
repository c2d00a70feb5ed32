"""Whatever sampler: proposals that fit their space, better than chance, and the same after a replay."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engine.errors import SonotuneError
from engine.sampler.sampler import Past, fits
from engine.spec.search import Search
from engine.spec.space import Space
from tests.sampled import (
    BRANCHED,
    BRANCHED_LISTED,
    LISTED,
    SMOOTH,
    TWO,
    make,
    replay,
    run_parallel,
    values_for,
)

LEARNING = ("tpe", "gp", "cmaes", "nsga2")
ALL = ("random", "grid", "qmc", *LEARNING, "motpe")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("space", [SMOOTH, BRANCHED, BRANCHED_LISTED], ids=["smooth", "branched", "listed"])
def test_a_replayed_sampler_proposes_what_the_uninterrupted_one_does(name: str, space: Space) -> None:
    if name == "grid":
        space = LISTED if space is SMOOTH else BRANCHED_LISTED
    count, more = (10, 2) if name == "gp" else (70, 5)
    whole = make(name, space, seed=5, startup=6)
    records = run_parallel(whole, count, values_for(whole))
    asks = [at for at, record in enumerate(records) if record["event"] == "asked"]
    for cut in (asks[1], asks[len(asks) // 2], len(records)):
        again = make(name, space, seed=5, startup=6)
        replay(again, records[:cut])
        if cut < len(records):
            asked = again.ask()
            assert asked is not None
            assert asked.params == records[cut]["params"]
    assert [again.ask() for _ in range(more)] == [whole.ask() for _ in range(more)]


@pytest.mark.parametrize("name", ["tpe", "motpe", "gp"])
@pytest.mark.parametrize("space", [SMOOTH, BRANCHED], ids=["smooth", "branched"])
def test_proposals_put_back_without_computing_them_lead_to_the_same_ones(
    name: str, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(name, space, seed=6, startup=4)
    records = run_parallel(whole, 9 if name == "gp" else 40, values_for(whole))
    monkeypatch.setattr("engine.sampler.sampler.COMPUTED_AGAIN", 0)
    monkeypatch.setattr("engine.sampler.sampler.THEN_EVERY", 1000)
    again = make(name, space, seed=6, startup=4)
    replay(again, records)
    assert [again.ask() for _ in range(2)] == [whole.ask() for _ in range(2)]


def test_a_journal_of_another_seed_is_refused_with_both_configurations() -> None:
    records = run_parallel(make("tpe", SMOOTH, seed=1), 3, lambda p: [bowl(p)])
    other = make("tpe", SMOOTH, seed=2)
    expected = make("tpe", SMOOTH, seed=2).ask()
    assert expected is not None
    with pytest.raises(SonotuneError, match="configuration 0 was") as error:
        replay(other, records)
    assert str(records[0]["params"]["train.a"]) in str(error.value)
    assert str(expected.params["train.a"]) in str(error.value)


def test_a_trial_that_lies_outside_the_space_is_refused_even_where_it_is_not_computed_again() -> None:
    records = run_parallel(make("tpe", SMOOTH), 60, lambda p: [bowl(p)])
    late = next(r for r in records if r["event"] == "asked" and r["number"] == 53)
    late["params"]["train.c"] = 99
    with pytest.raises(SonotuneError, match=r"configuration 53 was .*search space"):
        replay(make("tpe", SMOOTH), records)


def bowl(params: dict[str, Any]) -> float:
    """Best (0) at a = 0.3, b = 0.03, c = 14."""
    a, b, c = params["train.a"], np.log10(params["train.b"]), params["train.c"]
    return -float((a - 0.3) ** 2 + (b + 1.5) ** 2 / 9 + (c - 14) ** 2 / 400)


def best_of(name: str, seed: int, count: int) -> float:
    sampler, best = make(name, SMOOTH, seed, startup=6), -np.inf
    for _ in range(count):
        asked = sampler.ask()
        assert asked is not None
        value = bowl(asked.params)
        sampler.tell(asked.number, [value], "complete")
        best = max(best, value)
    return best


@pytest.mark.parametrize(
    ("name", "count"), [("tpe", 60), ("gp", 12), ("cmaes", 60), ("nsga2", 80), ("qmc", 60)]
)
def test_a_sampler_is_better_than_random(name: str, count: int) -> None:
    seeds = range(3) if name == "gp" else range(8)
    mine = np.mean([best_of(name, seed, count) for seed in seeds])
    random = np.mean([best_of("random", seed, count) for seed in range(20)])
    assert mine > random


def hypervolume(front: list[list[float]]) -> float:
    """The area that two objectives to be maximized dominate, from (0, 0)."""
    area, height = 0.0, 0.0
    for x, y in sorted(front, reverse=True):
        area += max(0.0, x) * max(0.0, y - height)
        height = max(height, y)
    return area


def two(params: dict[str, Any]) -> list[float]:
    a, b = params["train.a"], -np.log10(params["train.b"]) / 3
    g = 1 + 3 * (b + params["train.c"] / 20) / 2
    return [1 - a / 1.2, max(0.0, 1 - (g - np.sqrt(a * g)) / 1.2)]


def front_area(name: str, seed: int, count: int = 80) -> float:
    sampler, seen = make(name, SMOOTH, seed, startup=10, **TWO), []
    for _ in range(count):
        asked = sampler.ask()
        assert asked is not None
        seen.append(two(asked.params))
        sampler.tell(asked.number, seen[-1], "complete")
    return hypervolume(seen)


@pytest.mark.parametrize("name", ["motpe", "nsga2"])
def test_a_front_dominates_more_than_randoms(name: str) -> None:
    mine = np.mean([front_area(name, seed) for seed in range(5)])
    assert mine > np.mean([front_area("random", seed) for seed in range(20)])


@pytest.mark.parametrize("name", ALL)
def test_only_the_chosen_branch_has_values(name: str) -> None:
    space = BRANCHED_LISTED if name == "grid" else BRANCHED
    sampler = make(name, space, startup=8)
    records = run_parallel(sampler, 12 if name == "gp" else 20, values_for(sampler), slots=1)
    asked = [r["params"] for r in records if r["event"] == "asked"]
    assert all(fits(space, params) for params in asked)
    assert len({params["model"] for params in asked}) == 2


@pytest.mark.parametrize("name", ALL)
def test_first_configurations_come_first_with_their_branches(name: str) -> None:
    space = BRANCHED_LISTED if name == "grid" else BRANCHED
    width = {"model.x.width": 2} if name == "grid" else {"model.acsnet.width": 16}
    sampler = make(name, space, first=[width, {}])
    asked = sampler.ask()
    assert asked is not None
    assert fits(space, asked.params)
    assert asked.params | width == asked.params


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_what_completes_the_first_configurations_is_not_drawn_again(name: str) -> None:
    sampler = make(name, SMOOTH, first=[{"train.c": 1}, {"train.c": 2}])
    drawn = [asked.params["train.a"] for asked in (sampler.ask() for _ in range(8)) if asked]
    assert len(set(drawn)) == 8


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"loss.lambda": 2}, "must lie in uniform"),
        ({"loss.lamda": 0.5}, "not searched"),
        ({"model": "x"}, "must lie"),
    ],
)
def test_first_configurations_that_do_not_fit_are_refused(first: dict, message: str) -> None:
    with pytest.raises(SonotuneError, match=message):
        make("tpe", BRANCHED, first=[first])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "motpe"}, "lists several metrics; use tpe"),
        ({"sampler": "cmaes", **TWO}, "takes one objective; use motpe"),
        ({"objective": []}, "at least one metric"),
        ({"objective": {"dice": 0.0}}, "must differ from 0"),
        ({"objective": ["dice", "dice"]}, "twice"),
        ({"constraints": {"flops": 0}}, "greater than 0"),
        ({"budget": {"hours": -1}}, "greater than 0"),
        ({"configs": 0}, "greater than or equal to 1"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Search(**given)


def test_less_is_better_for_distances_and_costs() -> None:
    search = Search(objective=["dice", "refined_hd95_benign", "latency_ms"])
    assert search.directions == ("maximize", "minimize", "minimize")
    assert Search().directions == ("maximize",)


def test_a_grid_hands_out_each_combination_once_and_ends() -> None:
    sampler = make("grid", BRANCHED_LISTED, first=[{"model": "y", "train.k": None}])
    asked = []
    while one := sampler.ask():
        asked.append(json.dumps(one.params))
    assert len(asked) == len(set(asked)) == BRANCHED_LISTED.size == 8
    assert json.loads(asked[0]) == {"model": "y", "train.k": None}


def test_a_grid_over_a_continuous_dimension_is_refused() -> None:
    with pytest.raises(SonotuneError, match=r"train\.a, train\.b are continuous"):
        make("grid", SMOOTH)


def test_qmc_covers_more_evenly_than_random() -> None:
    def emptiest(name: str) -> int:
        sampler = make(name, SMOOTH, seed=1)
        points = [float(p.params["train.a"]) for p in (sampler.ask() for _ in range(64)) if p]  # type: ignore[arg-type]
        return int(min(np.histogram(points, bins=16, range=(0, 1))[0]))

    assert emptiest("qmc") == 4
    assert emptiest("random") < 3


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_constraints_turn_the_search_away(name: str) -> None:
    """Without the bound the best lies at a = 1; only a < 0.4 is allowed."""
    sampler = make(name, SMOOTH, seed=3, startup=8, constraints={"parameters": 400.0})
    count = 18 if name == "gp" else 60
    allowed = []
    for _ in range(count):
        asked = sampler.ask()
        assert asked is not None
        size = 1000 * float(asked.params["train.a"])  # type: ignore[arg-type]
        allowed.append(size <= 420)
        sampler.tell(asked.number, [float(asked.params["train.a"])], "complete", {"parameters": size})  # type: ignore[arg-type]
    assert np.mean(allowed[-count // 3 :]) >= 0.5


@pytest.mark.filterwarnings("error:Constraints have been set")
@pytest.mark.parametrize("name", LEARNING)
def test_a_configuration_may_be_dropped_before_anything_measured_its_size(name: str) -> None:
    sampler = make(name, SMOOTH, startup=2, constraints={"parameters": 400.0, "latency_ms": 9.0})
    for number in range(6):
        asked = sampler.ask()
        assert asked is not None
        values = [0.1 * number] * (2 if name == "motpe" else 1)
        known = {"parameters": 300.0, "latency_ms": 3.0} if number % 2 else None
        sampler.tell(asked.number, values, "complete" if known else "pruned", known)


def test_what_is_expected_of_a_pruned_configuration_is_learned_from() -> None:
    """All configurations are pruned; their values still lead to the best region."""
    sampler = make("tpe", SMOOTH, seed=2, startup=8)
    values = []
    for _ in range(60):
        asked = sampler.ask()
        assert asked is not None
        values.append(bowl(asked.params))
        sampler.tell(asked.number, values[-1:], "pruned")
    assert np.mean(values[-20:]) > np.mean(values[:8]) + 0.1


@pytest.mark.parametrize("name", LEARNING)
def test_earlier_runs_are_learned_from_and_misfits_are_counted(name: str) -> None:
    earlier = make("random", SMOOTH, seed=9)
    asked = [earlier.ask() for _ in range(12)]
    past = [Past(one.params, [bowl(one.params)], {}) for one in asked if one]
    foreign = [Past({"train.a": 0.5}, [1.0], {}), Past(past[0].params, [1.0, 2.0], {})]
    warm, cold = make(name, SMOOTH, startup=8), make(name, SMOOTH, startup=8)
    assert warm.warm([*past, *foreign]) == (12, 2)
    proposals = [(warm.ask(), cold.ask()) for _ in range(2)]
    for one, other in proposals:
        assert one is not None
        assert other is not None
        warm.tell(one.number, [bowl(one.params)], "complete")
        cold.tell(other.number, [bowl(other.params)], "complete")
    assert [p[0] and p[0].number for p in proposals] == [0, 1]


def test_a_configuration_is_told_once_and_with_as_many_values_as_objectives() -> None:
    sampler = make("tpe", SMOOTH)
    sampler.ask()
    with pytest.raises(SonotuneError, match="needs 1 values"):
        sampler.tell(0, [1.0, 2.0], "complete")
    sampler.tell(0, [1.0], "complete")
    with pytest.raises(SonotuneError, match="told twice"):
        sampler.tell(0, [1.0], "complete")


def test_a_value_that_is_not_finite_counts_as_failed() -> None:
    sampler = make("tpe", SMOOTH)
    sampler.ask()
    sampler.tell(0, [float("nan")], "complete")
    assert sampler.ask() is not None


@pytest.mark.parametrize("name", ["random", "qmc", "grid"])
def test_ten_thousand_configurations_are_cheap(name: str) -> None:
    space = Space.of({"train": {f"d{i}": {"int": [0, 9]} for i in range(4)}}) if name == "grid" else BRANCHED
    sampler = make(name, space)
    start = time.process_time()
    for _ in range(10_000):
        asked = sampler.ask()
        assert asked is not None
        sampler.tell(asked.number, [0.5], "complete")
    assert (time.process_time() - start) / 10_000 < 0.5e-3


def test_another_process_with_other_hashes_proposes_the_same() -> None:
    program = """
import json
from tests.sampled import BRANCHED, make, run_parallel, values_for
for name in ("tpe", "cmaes", "nsga2", "motpe"):
    sampler = make(name, BRANCHED, seed=-4, startup=5)
    print(json.dumps(run_parallel(sampler, 15, values_for(sampler))))
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    one, other = [process.communicate()[0] for process in processes]
    assert one == other != b""


def test_importing_the_sampler_imports_neither_torch_nor_ray() -> None:
    modules = "engine.sampler.sampler, engine.sampler.mirror"
    check = f"import sys, {modules}; sys.exit(any(m in sys.modules for m in ('torch', 'ray')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_what_the_user_asked_for_uses_up_no_point_of_a_design() -> None:
    plain, begun = make("qmc", SMOOTH, seed=3), make("qmc", SMOOTH, seed=3, first=[{"train.a": 0.5}])
    first = begun.ask()
    assert first is not None
    assert first.params["train.a"] == 0.5
    for _ in range(3):
        one, other = plain.ask(), begun.ask()
        assert one is not None
        assert other is not None
        assert one.params == other.params


def test_what_nothing_has_measured_lies_on_its_bound() -> None:
    sampler = make("tpe", SMOOTH, constraints={"parameters": 1e6})
    assert sampler.excess({}) == {"parameters": 0.0}
    assert sampler.excess({"parameters": 3e6}) == pytest.approx({"parameters": 2.0})
