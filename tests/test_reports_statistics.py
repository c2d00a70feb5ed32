"""Every statistic against an independent implementation, or against a truth that was put in."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from engine.metrics.classification import probability_figures
from engine.metrics.fold import fold_metrics
from reports import diagnosis, measures, pooled, resample, significance, stack
from reports.aggregate import summarise
from reports.load import load
from tests.runs import Plan, make_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", Plan(configs=4, cases=120, clusters=70, seed=3))


@pytest.fixture(scope="module")
def case_rows(run_folder: Path) -> stack.Stack:
    return stack.read(load(str(run_folder)), "test")


POOLED = ("dice", "iou", "hd95", "asd", "dice_pooled", "iou_pooled", "accuracy", "incoherent", "f1_macro",
          "f1_weighted", "balanced_accuracy", "precision_macro", "dice_benign", "f1_malignant",
          "sensitivity_normal", "specificity_benign", "precision_malignant", "refined_dice",
          "refined_dice_pooled", "refined_f1_macro", "refined_accuracy", "auc_macro", "auc_malignant", "ece",
          "brier", "refined_auc_macro", "refined_ece")  # fmt: skip


@pytest.mark.parametrize("name", POOLED)
def test_a_pooled_figure_is_what_the_fold_metrics_give_for_all_cases(
    name: str, run_folder: Path, case_rows: stack.Stack
) -> None:
    run = load(str(run_folder))
    what = pooled.statistic(name, run.classes)
    assert what is not None
    ours = pooled.figures(case_rows, what)
    for c, config in enumerate(case_rows.configs):
        cases = pa.concat_tables([run.cases(config, fold, "test") for fold in run.folds])
        assert ours[c] == pytest.approx(fold_metrics(cases, run.classes)[name], abs=1e-12)


@pytest.mark.parametrize("name", ["dice_pooled", "iou_pooled", "incoherent", "accuracy", "f1_macro"])
@pytest.mark.parametrize("lacking", ["tp", "predicted"])
def test_what_a_network_does_not_say_has_no_pooled_figure(
    name: str, lacking: str, case_rows: stack.Stack
) -> None:
    """Classifiers beside networks with masks, and the other way round."""
    columns = dict(case_rows.columns)
    for column in ("tp", "fp", "fn") if lacking == "tp" else ("predicted",):
        columns[column] = columns[column].copy()
        columns[column][0] = np.nan if lacking == "tp" else -1
    what = pooled.statistic(name, case_rows.classes)
    assert what is not None
    unknown = np.isnan(pooled.figures(replace(case_rows, columns=columns), what))
    assert unknown[0] == (name == "incoherent" or (lacking == "tp") == name.endswith("pooled"))
    assert not unknown[1:].any()


def test_macro_f1_under_weights_is_that_of_the_repeated_rows(case_rows: stack.Stack) -> None:
    what = pooled.statistic("f1_macro", case_rows.classes)
    assert what is not None
    weights = resample.draws(case_rows.clusters, 3, seed=1)[:, case_rows.cluster]
    ours = what.over(case_rows)(weights)
    for b, c in itertools.product(range(3), range(len(case_rows.configs))):
        rows = np.repeat(np.arange(len(case_rows.label)), weights[b].astype(int))
        theirs = sk.f1_score(case_rows.label[rows], case_rows.columns["predicted"][c, rows], average="macro")
        assert ours[b, c] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("decimals", [12, 1])  # rounded, so that many scores are equal
def test_an_area_under_weights_is_that_of_scikit_learn(case_rows: stack.Stack, decimals: int) -> None:
    rows = replace(case_rows, probabilities=case_rows.probabilities.round(decimals))
    weights = resample.draws(rows.clusters, 4, seed=2)[:, rows.cluster]
    each = [pooled.statistic(f"auc_{name}", rows.classes) for name in rows.classes]
    ours = [what.over(rows)(weights) for what in each if what]
    for (b, c), n in itertools.product(np.ndindex(4, len(rows.configs)), range(3)):
        truth, scores = rows.label == n, rows.probabilities[c, :, n]
        theirs = sk.roc_auc_score(truth, scores, sample_weight=weights[b])
        assert ours[n][b, c] == pytest.approx(theirs, abs=1e-12)
    macro = pooled.statistic("auc_macro", rows.classes)
    assert macro is not None
    assert macro.over(rows)(weights) == pytest.approx(np.mean(ours, axis=0), abs=1e-12)


@pytest.mark.parametrize("name", ["ece", "brier", "auc_macro"])
@pytest.mark.parametrize("decimals", [12, 2])  # rounded, so that some lie on the edge of a bin
def test_a_figure_of_probabilities_under_weights_is_that_of_the_repeated_rows(
    case_rows: stack.Stack, name: str, decimals: int
) -> None:
    case_rows = replace(case_rows, probabilities=case_rows.probabilities.round(decimals))
    what = pooled.statistic(name, case_rows.classes)
    assert what is not None
    weights = resample.draws(case_rows.clusters, 3, seed=4)[:, case_rows.cluster]
    ours = what.over(case_rows)(weights)
    for b, c in itertools.product(range(3), range(len(case_rows.configs))):
        rows = np.repeat(np.arange(len(case_rows.label)), weights[b].astype(int))
        figures = probability_figures(
            case_rows.probabilities[c, rows], case_rows.label[rows], case_rows.classes
        )
        assert ours[b, c] == pytest.approx(figures[name], abs=1e-12)


def test_an_area_without_cases_of_one_kind_is_undefined_and_left_out(case_rows: stack.Stack) -> None:
    weights = (case_rows.label[None] != 2).astype(float)
    normal, macro = (pooled.statistic(f"auc_{n}", case_rows.classes) for n in (case_rows.classes[2], "macro"))
    assert normal is not None
    assert macro is not None
    assert np.isnan(normal.over(case_rows)(weights)).all()
    assert np.isfinite(macro.over(case_rows)(weights)).all()


def test_a_clustered_draw_takes_all_rows_of_a_cluster_together(case_rows: stack.Stack) -> None:
    weights = resample.draws(case_rows.clusters, 20, seed=5)[:, case_rows.cluster]
    for cluster in np.unique(case_rows.cluster):
        assert (np.ptp(weights[:, case_rows.cluster == cluster], axis=1) == 0).all()


def test_the_bootstrap_interval_of_a_mean_agrees_with_scipys(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=1, cases=150, seed=2))))
    rows = stack.read(run, "test")
    what = pooled.statistic("dice", run.classes)
    assert what is not None
    (ours,) = resample.intervals(rows, [what], 4000, 0, 0.95)
    theirs = stats.bootstrap((rows.columns["dice"][0],), np.mean, n_resamples=4000, method="percentile",
                             rng=np.random.default_rng(1)).confidence_interval  # fmt: skip
    assert ours["bootstrap_low"] == pytest.approx(theirs.low, abs=0.006)
    assert ours["bootstrap_high"] == pytest.approx(theirs.high, abs=0.006)


def test_the_plain_interval_is_scipys_t_interval() -> None:
    values = np.array([0.71, 0.78, 0.74, 0.69, 0.81])
    ours = summarise(values, 0.0, 0.95)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert (ours["low"], ours["high"]) == pytest.approx((low, high))
    assert ours["se"] == pytest.approx(stats.sem(values))


def test_one_undefined_fold_leaves_no_mean_over_the_others() -> None:
    found = summarise(np.array([[0.5, np.nan, 0.7], [0.5, 0.6, 0.7]]), 0.25, 0.95)
    assert np.isnan(found["mean"]).tolist() == [True, False]
    assert np.isnan(found["low"]).tolist() == [True, False]
    assert found["n"].tolist() == [2, 3]


def test_the_corrected_t_without_correction_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.8, 0.02, 10), rng.normal(0.79, 0.02, 10)
    found = significance.corrected_t(ours - theirs, 0.0, 0.95)
    expected = stats.ttest_rel(ours, theirs)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert found["effect"] == pytest.approx(expected.statistic / np.sqrt(10))  # Cohen's d of pairs
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_corrected_t_follows_the_published_formula() -> None:
    """Nadeau and Bengio 2003: t = mean / sqrt((1/n + n_test/n_train)·s²), worked by hand for 10 × 10-fold."""
    differences = np.tile([0.02, 0.01, -0.01, 0.03, 0.0], 20)
    found = significance.corrected_t(differences, 1 / 9, 0.95)
    t = differences.mean() / np.sqrt((1 / 100 + 1 / 9) * differences.var(ddof=1))
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(t), 99))
    plain = stats.ttest_1samp(differences, 0).pvalue
    assert found["p"] > plain


def test_the_corrected_t_keeps_its_level_where_the_plain_one_does_not() -> None:
    """Fold means that share training cases correlate by about n_test/(n_test + n_train)."""
    rng = np.random.default_rng(7)
    folds, rho = 10, 0.1
    shared = rng.normal(0, np.sqrt(rho), (2000, 1))
    differences = shared + rng.normal(0, np.sqrt(1 - rho), (2000, folds))
    ours = np.mean([significance.corrected_t(d, rho / (1 - rho), 0.95)["p"] < 0.05 for d in differences])
    plain = (stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05).mean()
    assert ours == pytest.approx(0.05, abs=0.015)
    assert plain > 0.1


def test_folds_that_all_differ_by_the_same_prove_nothing() -> None:
    """One more case of twenty right on each of three folds: floats gave such a test a p of 1e-30."""
    ours, theirs = np.array([0.55, 0.6, 0.7]), np.array([0.5, 0.55, 0.65])
    found = significance.corrected_t(ours - theirs, 0.5, 0.95)
    assert found["difference"] == pytest.approx(0.05)
    assert np.isnan([found[name] for name in ("p", "low", "high", "effect")]).all()
    assert significance.corrected_t((ours + 0.1) - 0.1 - ours, 0.5, 0.95)["p"] == 1


def test_ties_of_signed_ranks_are_ties_whatever_floats_make_of_them() -> None:
    exact = np.array([1, -1, 1, 1, 2, -1, 3, 0]) / 8
    base = np.array([0.3, 0.7, 0.1, 0.9, 0.2, 0.6, 0.05, 0.45])
    noisy = (base + exact) - base
    assert (noisy != exact).any()
    assert significance.signed_rank(noisy) == pytest.approx(significance.signed_rank(exact))


def test_mcnemar_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.random(200) < 0.8, rng.random(200) < 0.72
    table = [
        [(ours & theirs).sum(), (ours & ~theirs).sum()],
        [(~ours & theirs).sum(), (~ours & ~theirs).sum()],
    ]
    assert significance.mcnemar(ours, theirs)["p"] == pytest.approx(
        statsmodels_mcnemar(table, exact=True).pvalue
    )


def test_holm_is_that_of_statsmodels() -> None:
    p = np.random.default_rng(2).uniform(0, 1, 9)
    assert significance.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_leaves_out_what_is_undefined() -> None:
    assert significance.holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_the_signed_rank_p_is_that_of_all_sign_patterns() -> None:
    differences = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.6, -0.2])
    ranks = stats.rankdata(np.abs(differences))
    observed = abs((ranks * np.sign(differences)).sum())
    patterns = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    found = significance.signed_rank(differences)
    assert found["p"] == pytest.approx(np.mean([p >= observed - 1e-12 for p in patterns]))
    assert found["effect"] == pytest.approx((ranks * np.sign(differences)).sum() / ranks.sum())


def test_mcnemar_counts_a_case_once_however_often_it_was_tested(case_rows: stack.Stack) -> None:
    again = replace(case_rows, case=np.array([2, 0, 2, 1, 0]))
    assert significance.first_repeat(again).tolist() == [0, 1, 3]


def test_a_test_of_cases_says_how_many_were_compared(case_rows: stack.Stack) -> None:
    pick, other = case_rows.configs[:2]
    found = significance._case_tests(case_rows, pick, other, frozenset())
    counts = {row["test"]: row["n"] for row in found}
    assert counts["Wilcoxon signed rank"] == case_rows.clusters
    assert counts["McNemar, exact"] == len(np.unique(case_rows.case))
    right = case_rows.columns["predicted"][:2] == case_rows.label  # each case is tested once
    assert found[1]["difference"] == pytest.approx(right[0].mean() - right[1].mean())


def test_rows_in_another_order_are_laid_on_those_of_the_same_case() -> None:
    table = pa.table({"case": ["c", "a", "b"], "dice": [0.3, 0.1, 0.2]})
    found = stack._aligned(table, pa.chunked_array([["a", "b", "c"]]))
    assert found["dice"].to_pylist() == [0.1, 0.2, 0.3]
    for others in (["a", "b", "d"], ["a", "b"]):
        with pytest.raises(ValueError, match="other cases"):
            stack._aligned(table, pa.chunked_array([others]))


def test_a_class_that_refinement_has_changed_is_certain(case_rows: stack.Stack) -> None:
    said = np.array(case_rows.columns["predicted"])
    said[0, 0] = (said[0, 0] + 1) % len(case_rows.classes)
    refined = replace(case_rows, columns=case_rows.columns | {"refined_predicted": said})
    changed = said != case_rows.columns["predicted"]
    found = refined.chances("refined_")
    assert found[0, 0].tolist() == np.eye(len(case_rows.classes))[said[0, 0]].tolist()
    np.testing.assert_array_equal(found[~changed], case_rows.probabilities[~changed])


@pytest.mark.parametrize("metric", ["hd95", "hd95_benign", "refined_asd_malignant", "incoherent", "fp"])
def test_less_of_a_distance_or_an_error_is_better_also_of_one_class(metric: str) -> None:
    assert not measures.higher_is_better(metric)
    assert measures.higher_is_better("dice_benign")


def test_a_roc_curve_starts_at_nothing_said() -> None:
    """The one negative scores highest: there is no rate between none and all of its kind but by chance."""
    curve = diagnosis.roc(np.array([0.9, 0.8, 0.1]), np.array([False, True, True]))
    assert curve == pytest.approx(diagnosis.GRID_POINTS)


def test_dependent_rows_count_once_per_cluster(case_rows: stack.Stack) -> None:
    values = case_rows.columns["dice"][0]
    ours = significance.by_cluster(case_rows, values)
    slow = [values[case_rows.cluster == c].mean() for c in np.unique(case_rows.cluster)]
    assert ours == pytest.approx(slow)
    assert sm.stats.DescrStatsW(ours).mean == pytest.approx(np.mean(slow))
