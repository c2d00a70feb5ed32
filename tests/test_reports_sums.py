"""Figures at their edges: classes that nobody says, pictures without a lesion, rows that one run lacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.multitest import multipletests

from reports import aggregate, pooled, significance, stack
from reports.aggregate import summarise
from reports.load import load
from tests.runs import Plan, make_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(configs=3, folds=2, repeats=2, cases=40, clusters=25, seed=4)
    return make_run(tmp_path_factory.mktemp("runs") / "demo", plan)


@pytest.fixture(scope="module")
def rows(run_folder: Path) -> stack.Stack:
    return stack.read(load(str(run_folder)), "test")


def figure(rows: stack.Stack, name: str) -> np.ndarray:
    what = pooled.statistic(name, rows.classes)
    assert what is not None
    return pooled.figures(rows, what)


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 1)], ids=["never said", "absent as well"])
@pytest.mark.parametrize("name", ["f1_macro", "f1_weighted", "precision_macro", "sensitivity_macro"])
def test_a_class_that_is_never_said_counts_as_nothing_and_an_absent_one_not_at_all(
    name: str, classes: tuple[int, ...], rows: stack.Stack
) -> None:
    some = rows.rows(np.flatnonzero(np.isin(rows.label, classes)))
    said = np.zeros_like(some.columns["predicted"])
    theirs = {
        "f1": sk.f1_score, "precision": sk.precision_score, "sensitivity": sk.recall_score
    }[name.split("_")[0]](some.label, said[0], average=name.split("_")[1], zero_division=0)  # fmt: skip
    ours = figure(replace(some, columns=some.columns | {"predicted": said}), name)
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["dice_pooled", "iou_pooled"])
def test_pictures_without_a_lesion_in_which_none_is_found_are_right(name: str, rows: stack.Stack) -> None:
    none = {column: np.zeros_like(rows.columns[column]) for column in ("tp", "fp", "fn")}
    assert figure(replace(rows, columns=rows.columns | none), name).tolist() == [1.0] * 3


@pytest.mark.parametrize("name", ["auc_macro", "ece", "brier"])
def test_a_network_without_probabilities_has_none_of_their_figures(name: str, rows: stack.Stack) -> None:
    chances = rows.probabilities.copy()
    chances[0] = np.nan
    found = figure(replace(rows, probabilities=chances), name)
    assert np.isnan(found).tolist() == [True, False, False]


def test_cases_stand_together_as_the_run_has_them(run_folder: Path, rows: stack.Stack) -> None:
    run = load(str(run_folder))
    table = run.cases(rows.configs[0], run.folds[0], "test")
    first = rows.rows(np.flatnonzero(rows.fold == 0))
    for other in range(len(first.cases)):
        name = first.cases[other]
        cluster = table.filter(pc.equal(table["case"], name))["cluster"].to_pylist()
        assert [rows.cluster_names[first.cluster[other]]] == cluster
    assert rows.grouped


def test_repeats_of_a_case_are_no_group(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=1, folds=2, repeats=2, cases=24))))
    assert not stack.read(run, "test").grouped


def test_one_whose_cases_are_lost_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=3, folds=2, cases=24))
    whole = stack.read(load(str(folder)), "test")
    lost = whole.configs[0]
    next((folder / "results" / lost).glob("*/cases_test.parquet")).write_bytes(b"")
    found = stack.read(load(str(folder)), "test", whole.configs)
    assert found.configs == whole.configs[1:]
    assert lost in found.problems[0].where
    for name in ("dice", "predicted"):
        np.testing.assert_array_equal(found.columns[name], whole.columns[name][1:])
    np.testing.assert_array_equal(found.probabilities, whole.probabilities[1:])


def test_a_pick_of_rows_takes_their_probabilities_along(rows: stack.Stack) -> None:
    one = rows.pick([rows.configs[2]])
    np.testing.assert_array_equal(one.probabilities, rows.probabilities[[2]])
    np.testing.assert_array_equal(one.columns["dice"], rows.columns["dice"][[2]])


def test_the_corrected_error_stands_beside_the_plain_one() -> None:
    values = np.array([0.71, 0.78, 0.74, 0.69, 0.81])
    found = summarise(values, 0.25, 0.95)
    assert found["se"] == pytest.approx(stats.sem(values))
    assert found["se_corrected"] == pytest.approx(stats.sem(values) * np.sqrt(1 + 5 * 0.25))


def test_a_table_of_folds_holds_each_figure_under_its_own_name(run_folder: Path) -> None:
    run = load(str(run_folder))
    known = aggregate.figures(run)
    config = run.complete[1]
    for row in aggregate.frame(known).to_pylist():
        if row["config_id"] == config.id and row["metric"] in ("dice", "hd95", "f1_macro", "score"):
            values = [getattr(config.folds[f], row["split"])[row["metric"]] if row["metric"] != "score"
                      else config.folds[f].score for f in run.folds]  # fmt: skip
            assert row["split"] == "validation" or row["metric"] != "score"
            assert [row[f] for f in run.folds] == values
            assert row["mean"] == pytest.approx(np.mean(values), nan_ok=True)


def test_a_figure_that_one_fold_lacks_keeps_its_row_without_a_mean(run_folder: Path) -> None:
    known = aggregate.figures(load(str(run_folder)))
    test = known.values["test"].copy()
    test[0, 0, known.at["hd95"]] = np.nan
    known = replace(known, values={**known.values, "test": test})
    table = aggregate.frame(known).to_pylist()
    (row,) = [
        r for r in table if (r["config_id"], r["split"], r["metric"]) == (known.configs[0], "test", "hd95")
    ]
    assert np.isnan(row["mean"])
    assert row["n"] == len(known.folds) - 1
    tests = significance._fold_tests(known, *known.configs[:2], 0.95, frozenset())
    assert [row["metric"] for row in tests] == ["dice", "f1_macro", "accuracy"]


def test_a_configuration_without_a_score_is_ranked_last() -> None:
    values = {"validation": np.array([[[-0.2]], [[np.nan]], [[-0.1]]])}
    known = aggregate.Figures(("a", "b", "c"), ("f",), ("score",), values, {})
    assert aggregate.ranking(known) == {"c": 1, "a": 2, "b": 3}


@pytest.mark.parametrize(
    ("alone", "effect", "difference", "p"),
    [((3, 1), 3.0, 0.25, 0.625), ((1, 3), 1 / 3, -0.25, 0.625), ((3, 0), np.inf, 0.375, 0.25),
     ((0, 0), 1.0, 0.0, 1.0)],
)  # fmt: skip
def test_mcnemar_by_hand(alone: tuple[int, int], effect: float, difference: float, p: float) -> None:
    """Of eight cases, some that the pick alone gets right, some that the other alone does."""
    mine, others = alone
    ours = np.arange(8) < mine
    theirs = (np.arange(8) >= mine) & (np.arange(8) < mine + others)
    found = significance.mcnemar(ours, theirs)
    assert (found["effect"], found["difference"], found["p"]) == pytest.approx((effect, difference, p))
    assert (found["only_pick"], found["only_other"]) == alone


def test_all_tests_of_a_page_are_adjusted_together(run_folder: Path, rows: stack.Stack) -> None:
    known = aggregate.figures(load(str(run_folder)))
    pick, *others = rows.configs
    found = significance.frame(known, rows, pick, dict.fromkeys(others, "runner-up"), 0.95)
    assert {row["other"] for row in found} == set(others)
    p = np.array([row["p"] for row in found])
    told = np.isfinite(p)
    adjusted = np.array([row["p_holm"] for row in found])
    assert adjusted[told] == pytest.approx(multipletests(p[told], method="holm")[1])
    assert np.isnan(adjusted[~told]).all()


def test_the_least_difference_that_is_shown_is_just_shown() -> None:
    differences = np.array([0.01, -0.02, 0.03, 0.0, 0.02])
    need = significance.detectable(5, 0.25, 0.95)["standard_deviations"]
    at_it = differences - differences.mean() + need * differences.std(ddof=1)
    assert significance.corrected_t(at_it, 0.25, 0.95)["p"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("lacking", "left"), [("predicted", ["Wilcoxon signed rank"]), ("dice", ["McNemar, exact"])]
)
def test_what_one_of_the_two_does_not_say_is_not_tested(
    lacking: str, left: list[str], rows: stack.Stack
) -> None:
    """Whichever of the two it is; of one whose cases are lost nothing is."""
    pick, other = rows.configs[:2]
    for one in (0, 1):
        column = rows.columns[lacking].copy()
        column[one] = -1 if lacking == "predicted" else np.nan
        some = replace(rows, columns=rows.columns | {lacking: column})
        assert [r["test"] for r in significance._case_tests(some, pick, other, frozenset())] == left
    assert significance._case_tests(rows.pick([pick]), pick, other, frozenset()) == []


def test_cautions_are_of_the_tests_that_were_made(run_folder: Path) -> None:
    known = aggregate.figures(load(str(run_folder)))
    told = significance.cautions(known, [{"test": "Wilcoxon signed rank"}], True, 0.95)
    assert significance.GROUPED not in told
    assert significance.GROUPED in significance.cautions(known, [{"test": "McNemar, exact"}], True, 0.95)
    assert significance.GROUPED not in significance.cautions(known, [{"test": "McNemar, exact"}], False, 0.95)


def test_one_fold_proves_nothing() -> None:
    found = significance.corrected_t(np.array([0.0]), 0.5, 0.95)
    assert np.isnan([found[name] for name in ("p", "low", "high", "effect")]).all()


def test_cases_without_a_difference_or_without_a_figure_take_no_part_in_signed_ranks() -> None:
    moved = np.array([0.3, -0.1, 0.25, 0.4])
    found = significance.signed_rank(np.concatenate([moved, [0.0, np.nan]]))
    assert (found["p"], found["effect"]) == pytest.approx(
        tuple(significance.signed_rank(moved)[name] for name in ("p", "effect"))
    )
    assert found["difference"] == pytest.approx(moved.sum() / 5)
