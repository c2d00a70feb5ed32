"""Where a configuration refines its predictions, the report speaks of the refined ones, and says so."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from engine.spec.select import Select
from reports import own, parts, published, significance
from reports.aggregate import figures
from reports.boards import board_table, fold_table
from reports.console import fitting
from reports.load import load
from reports.run import Run
from reports.study import Study, study_of
from tests.runs import Plan, make_run

PLAN = Plan(configs=3, folds=3, cases=90, quality=(0.8, 0.6, 0.4))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load(str(make_run(tmp_path_factory.mktemp("runs") / "run", PLAN)))


def refining(run: Run, *which: int) -> Study:
    """The run as if these of its configurations refined."""
    entries = [replace(c, config=dict(c.config) | {"predict": {"refine": n in which}})
               for n, c in enumerate(run.configs)]  # fmt: skip
    return study_of(replace(run, configs=tuple(entries)), Select(bootstraps=100))


def test_an_undefined_refined_figure_is_not_replaced_by_the_raw_one(run: Run) -> None:
    study = refining(run, 0, 1)
    known = study.known
    known.of("test", "refined_hd95")[1, 0] = np.nan
    try:
        assert own.name(known, known.configs[1], "hd95", study.refining) == "refined_hd95"
        rows = significance.frame(known, study.test, study.picked, study.others, 0.95, study.refining)
        assert not [r for r in rows if r["other"] == known.configs[1] and r["metric"].endswith("hd95")]
    finally:
        known.of("test", "refined_hd95")[1, 0] = 1.0


def test_the_terminal_says_what_counts(run: Run) -> None:
    told = parts.sentences(refining(run, 0, 1, 2))
    assert told
    assert all("refined" in line.split(":")[0] for line in told)
    assert not any("refined" in line for line in parts.sentences(refining(run)))


def test_the_headline_is_the_refined_figure(run: Run) -> None:
    study = refining(run, 0, 1, 2)
    first = parts.headlines(study).rows[0]
    wanted = study.known.of("test", "refined_dice")[study.known.configs.index(study.picked)].mean()
    assert (first.label, first.value) == ("Test Dice, refined", f"{wanted:.3f}")
    assert parts.headlines(refining(run)).rows[0].label == "Test Dice"


@pytest.mark.parametrize(
    ("which", "shown"),
    [((), ["test_dice"]), ((0, 1, 2), ["test_refined_dice"]), ((0,), ["test_refined_dice", "test_dice"])],
)
def test_the_leaderboard_shows_what_counts(run: Run, which: tuple[int, ...], shown: list[str]) -> None:
    study = refining(run, *which)
    columns = [c.key.removesuffix("_mean") for c in board_table(study.run, study.known).columns]
    assert [name for name in columns if name.endswith("dice")] == shown


def test_folds_and_pooled_figures_beside_the_leaderboard_are_those_that_count(run: Run) -> None:
    """The score of refined predictions is not made of the raw Dice."""
    for which, shown in (((), ["dice"]), ((0, 1, 2), ["refined_dice"])):
        study = refining(run, *which)
        folds, pooled = fold_table(study.run, study.known), parts.intervals(study)
        assert [c.key for c in folds.columns if c.key.endswith("dice")] == [
            f"{split}_{name}" for split in ("validation", "test") for name in shown
        ]
        assert {"test_dice", "test_refined_dice"} <= set(folds.rows[0])
        assert [c.key for c in pooled.columns if c.key.endswith("dice")] == shown


def test_tests_compare_each_by_its_own_predictions(run: Run) -> None:
    study = refining(run, 0)
    assert study.picked == run.configs[0].id
    rows = {(r["other"], r["test"], r["metric"]): r for r in study.significance}
    other, known = run.configs[1].id, study.known
    found = rows[other, "corrected resampled t", "refined_dice"]["difference"]
    assert found == pytest.approx((known.of("test", "refined_dice")[0] - known.of("test", "dice")[1]).mean())
    cases = rows[other, "Wilcoxon signed rank", "refined_dice"]["difference"]
    columns = study.test.columns
    assert cases == pytest.approx(np.mean(columns["refined_dice"][0] - columns["dice"][1]))


def test_without_a_refined_figure_the_raw_one_stands(run: Run) -> None:
    known = figures(run)
    everyone = frozenset(known.configs)
    assert own.name(known, known.configs[0], "dice", everyone) == "refined_dice"
    assert own.name(known, known.configs[0], "score", everyone) == "score"
    nothing = {"dice": np.array([[0.5, 0.25]]), "refined_dice": np.full((1, 2), np.nan)}
    assert own.column(nothing, 0, "dice", True).tolist() == [0.5, 0.25]


def test_a_printed_row_of_refined_predictions_stands_beside_ours(run: Run) -> None:
    """Table 8 is of the whole framework; the baseline in it does not refine."""
    models = ("mt_unetpp", "adityan", "mt_nnunet")
    entries = [replace(c, config=dict(c.config) | {"model": {"name": name}})
               for c, name in zip(run.configs, models, strict=True)]  # fmt: skip
    run = replace(run, configs=tuple(entries))
    rows = published.frame(published.find("refining.8"), run, figures(run))
    ours = {row["method"].split(", ", 1)[1]: row for row in rows if row["whose"] != "printed"}
    known, first, second = figures(run), run.configs[0].id, run.configs[1].id
    assert ours[f"{first}, refined"]["dice"] == pytest.approx(known.of("test", "refined_dice")[0].mean())
    assert ours[second]["dice"] == pytest.approx(known.of("test", "dice")[1].mean())


def test_a_test_favours_what_it_looks_at() -> None:
    """Of signed ranks the mean may say the opposite; a tie favours nobody."""
    few_large = np.array([-0.01] * 30 + [2.0])
    row = dict(significance.signed_rank(few_large)) | {"metric": "dice", "effect_kind": "r"}
    assert row["difference"] > 0
    assert significance.favours(row) == "other"
    assert significance.favours({"metric": "hd95", "effect_kind": "d", "difference": -3.0}) == "pick"
    assert significance.favours({"metric": "accuracy", "effect_kind": "odds", "difference": 0.0}) == "neither"


def test_rows_that_differ_in_a_switch_alone_are_told_apart(run: Run) -> None:
    table = board_table(refining(run, 0).run, refining(run, 0).known)
    assert {row["switches"] for row in table.rows} == {"refine: true", "refine: false"}
    assert [column.label for column in table.columns][2:4] == ["Model", "Differs by"]
    same = board_table(refining(run).run, refining(run).known)
    assert "Differs by" not in [column.label for column in same.columns]


def test_a_narrow_terminal_leaves_figures_out_but_cuts_none(run: Run) -> None:
    study, heard = refining(run, 0), io.StringIO()
    out = Console(file=heard, width=80)
    out.print(fitting(board_table(study.run, study.known), out))
    assert "…" not in heard.getvalue()
    assert heard.getvalue().count(" ± ") >= 3 * 2
