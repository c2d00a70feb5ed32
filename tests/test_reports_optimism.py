"""The bias correction removes the optimism of choosing, and nothing else."""

import time
from dataclasses import replace

import numpy as np
import pytest

from engine import objective
from engine.picking import Evidence
from reports import optimism, pooled
from reports.stack import NUMBERS, Stack

CLASSES = ("benign", "malignant", "normal")
EVIDENCE = Evidence(np.zeros(0), np.zeros(0), np.zeros(0), 0.25, 0.95)


def simulated(
    configs: int, cases: int, folds: int, rng: np.random.Generator, spread: float = 0.0
) -> tuple[Stack, Stack, np.ndarray]:
    """Configurations of equal quality (or of a known spread). A configuration has luck with a case, which
    shows on validation and on test: that is what choosing profits from, and what new cases will not give."""
    quality = 0.7 + spread * np.linspace(0, 1, configs)
    luck = rng.normal(0, 0.25, (configs, cases))
    label = rng.integers(0, 3, cases)
    parts = np.array_split(rng.permutation(cases), folds)
    made = []
    for split in ("validation", "test"):
        rows = [parts[(f + 1) % folds] if split == "validation" else parts[f] for f in range(folds)]
        case, fold = np.concatenate(rows), np.repeat(np.arange(folds), [len(r) for r in rows])
        dice = quality[:, None] + luck[:, case] + rng.normal(0, 0.05, (configs, cases))
        right = luck[:, case] + rng.normal(0, 0.1, (configs, cases)) > -0.25
        said = np.where(right, label[case], (label[case] + 1) % 3).astype(np.int8)
        columns = {name: np.full((configs, cases), np.nan) for name in NUMBERS}
        columns |= {"dice": dice, "predicted": said, "refined_predicted": said}
        names = np.array([f"c{n:05d}" for n in range(cases)])
        chances = 0.1 + 0.3 * rng.spawn(1)[0].random((configs, cases, 3))
        chances[:, np.arange(cases), label[case]] += 0.2 + luck[:, case]
        made.append(Stack(tuple(f"k{n}" for n in range(configs)), CLASSES, names[case], case, case, names,
                          label[case], fold, columns, chances))  # fmt: skip
    return made[0], made[1], quality


def corrected(
    validation: Stack, test: Stack, metric: str, rule: str, times: int, costs: np.ndarray
) -> tuple[float, float]:
    what = pooled.statistic(metric, CLASSES)
    assert what is not None
    folds = [validation.rows(np.flatnonzero(validation.fold == f)) for f in range(5)]
    best = int(np.mean([pooled.figures(fold, what) for fold in folds], axis=0).argmax())
    evidence = replace(EVIDENCE, cost=costs)
    (row,) = optimism.frame(
        validation, test, what, [what], [what], test.configs[best], rule, evidence, times, 0
    )
    return row["selected"], row["corrected"]


@pytest.mark.parametrize("metric", ["dice", "f1_macro", "auc_macro"])
def test_equal_configurations_lose_their_optimism(metric: str) -> None:
    rng = np.random.default_rng(11)
    truth = 0.7
    if metric != "dice":
        big = simulated(1, 60_000, 5, rng)[1]
        what = pooled.statistic(metric, CLASSES)
        assert what is not None
        truth = float(pooled.figures(big, what)[0])
    found = []
    for _ in range(20):
        validation, test, _ = simulated(30, 120, 5, rng)
        found.append(corrected(validation, test, metric, "best_mean", 80, np.zeros(30)))
    selected, estimate = np.mean(found, axis=0)
    assert selected - truth > 0.02
    assert abs(estimate - truth) < 0.25 * (selected - truth)


def test_a_clear_winner_keeps_its_figure() -> None:
    rng = np.random.default_rng(3)
    validation, test, _ = simulated(10, 300, 5, rng, spread=0.9)
    selected, estimate = corrected(validation, test, "dice", "best_mean", 200, np.zeros(10))
    assert selected == pytest.approx(estimate, abs=0.01)


@pytest.mark.parametrize("rule", ["best_mean", "one_se", "lower_bound", "median_rank", "pareto"])
def test_every_rule_chooses_within_the_bootstrap(rule: str) -> None:
    validation, test, _ = simulated(6, 60, 5, np.random.default_rng(0))
    what = pooled.statistic("dice", CLASSES)
    assert what is not None
    evidence = replace(EVIDENCE, cost=np.arange(6.0))
    values = optimism.corrected(validation, test, what, [what], [what], rule, evidence, 300, 1)[0]["dice"]
    assert np.isfinite(values).all()
    assert len(values) == 300


def test_a_case_outside_the_bag_is_never_chosen_on() -> None:
    """With all quality in the luck, what was chosen on drawn cases says nothing about the others."""
    validation, test, _ = simulated(200, 100, 5, np.random.default_rng(5))
    selected, estimate = corrected(validation, test, "dice", "best_mean", 300, np.zeros(200))
    assert selected > 0.74
    assert estimate < 0.72


def test_a_thousand_bootstraps_of_a_large_study_are_quick() -> None:
    validation, test, _ = simulated(200, 800, 5, np.random.default_rng(1))
    objective = pooled.weighted("score", {"dice": 0.5, "auc_macro": 0.5}, CLASSES)
    assert objective is not None
    names = ("dice", "f1_macro", "accuracy", "balanced_accuracy", "auc_macro", "ece")
    wanted = [pooled.statistic(m, CLASSES) for m in names]
    metrics = [m for m in wanted if m is not None]
    began = time.process_time()  # of all threads, so that a busy machine does not count
    evidence = replace(EVIDENCE, cost=np.zeros(200))
    optimism.frame(validation, test, objective, [], metrics, "k0", "best_mean", evidence, 1000, 0)
    assert time.process_time() - began < 20


def test_a_fold_of_which_nothing_was_drawn_decides_nothing() -> None:
    """With few clusters many resamples miss one fold whole; what is listed first wins nothing by it."""
    validation, test, _ = simulated(4, 15, 5, np.random.default_rng(2), spread=0.5)
    what = pooled.statistic("dice", CLASSES)
    assert what is not None

    def values(order: list[str]) -> np.ndarray:
        parts = validation.pick(order), test.pick(order)
        evidence = replace(EVIDENCE, cost=np.zeros(4))
        return optimism.corrected(*parts, what, [], [what], "best_mean", evidence, 200, 0)[0]["dice"]

    there, back = values(["k0", "k1", "k2", "k3"]), values(["k3", "k2", "k1", "k0"])
    assert 20 < np.isnan(there).sum() < 180
    assert there == pytest.approx(back, nan_ok=True)


def test_what_is_undefined_on_the_rows_drawn_counts_as_nothing_as_it_does_in_the_search() -> None:
    """Without a case of the class and without a false alarm its F1 is undefined: no reason to be out."""
    validation, _, _ = simulated(3, 60, 1, np.random.default_rng(3))
    name = f"f1_{CLASSES[0]}"
    what, plain = pooled.weighted("score", {name: 1.0}, CLASSES), pooled.statistic(name, CLASSES)
    assert what is not None
    assert plain is not None
    others = (validation.label != 0) & (validation.columns["predicted"][0] != 0)
    weights = np.stack([others.astype(float), np.zeros(len(others))])
    assert np.isnan(plain.over(validation)(weights)[0, 0])
    found = what.over(validation)(weights)
    assert found[0, 0] == 0.0
    assert np.isnan(found[1]).all()  # of nothing at all nothing is known


def test_resamples_that_chose_a_network_of_another_task_are_counted_apart() -> None:
    validation, test, _ = simulated(2, 60, 3, np.random.default_rng(5), spread=0.0)
    score, dice = pooled.statistic("accuracy", CLASSES), pooled.statistic("dice", CLASSES)
    assert score is not None
    assert dice is not None
    for stack in (validation, test):
        stack.columns["dice"][1] = np.nan
    evidence = replace(EVIDENCE, cost=np.zeros(2))
    (row,) = optimism.frame(validation, test, score, [], [dice], "k0", "best_mean", evidence, 200, 0)
    assert row["without"] > 0
    assert row["bootstraps"] + row["without"] + row["undecided"] == 200


def test_what_a_network_lacks_leaves_its_weight_to_the_rest_as_in_the_search() -> None:
    """Also where less of it is better, which has a negative weight."""
    weights = {"dice": 1.0, "hd95": -0.5, "accuracy": 1.0}
    (told,) = objective.values({"accuracy": 0.8}, [weights], refined=False)
    ours = pooled._sum(np.array([[np.nan], [np.nan], [0.8]]), np.array([*weights.values()]))
    assert ours == pytest.approx([told])
    assert told == pytest.approx(2.5 * 0.8)
