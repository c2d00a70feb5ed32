"""Curves, the race, importance and published figures against other implementations or by hand."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from engine.errors import SonotuneError
from engine.results import digest
from engine.spec.select import Select
from reports import (
    boards,
    by_model,
    configs,
    correction,
    diagnosis,
    importance,
    learning,
    nested,
    parts,
    pooled,
    published,
    racing,
    stack,
)
from reports.aggregate import Figures, figures
from reports.build import subtitle
from reports.load import load
from reports.sections import Code
from reports.study import score_statistic, study_of
from reports.tables import Column, Table, formatted
from reports.together import together
from reports.warn import warnings_of
from tests.runs import Plan, make_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", Plan(configs=9, dropped=2, cases=120, seed=4))


def scores(n: int = 400, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positive = rng.random(n) < 0.4
    values = rng.normal(positive * 1.0, 1.0)
    return (np.round(values, 1) if ties else values), positive


@pytest.mark.parametrize("ties", [False, True])
def test_the_roc_curve_passes_through_scikit_learns_points(ties: bool) -> None:
    values, positive = scores(ties=ties)
    fpr, tpr, _ = sk.roc_curve(positive, values, drop_intermediate=False)
    ours = diagnosis.roc(values, positive)
    last = np.append(np.diff(fpr) > 0, True)
    assert ours == pytest.approx(np.interp(diagnosis.GRID_POINTS, fpr[last], tpr[last]))
    assert np.trapezoid(ours, diagnosis.GRID_POINTS) == pytest.approx(
        sk.roc_auc_score(positive, values), abs=0.01
    )


def test_precision_at_a_recall_is_the_best_that_reaches_it() -> None:
    values, positive = scores(ties=True)
    precision, recall, _ = sk.precision_recall_curve(positive, values)
    ours = diagnosis.precision_recall(values, positive)
    wanted = [precision[:-1][recall[:-1] >= r - 1e-12].max() for r in diagnosis.GRID_POINTS]
    assert ours == pytest.approx(wanted)


def test_a_confusion_matrix_is_scikit_learns(run_folder: Path) -> None:
    run = load(str(run_folder))
    rows = stack.read(run, "test")
    config = rows.configs[2]
    ours = [r for r in diagnosis.confusion_rows(rows, config) if r["predictions"] == "raw"]
    theirs = sk.confusion_matrix(rows.label, rows.columns["predicted"][2])
    assert [[r[f"as_{c}"] for c in run.classes] for r in ours] == theirs.tolist()


def test_calibration_is_scikit_learns(run_folder: Path) -> None:
    rows = stack.read(load(str(run_folder)), "test")
    ours = diagnosis.calibration_rows(rows, rows.configs[0])
    chances = rows.probabilities[0]
    right = chances.argmax(axis=1) == rows.label
    true, predicted = calibration_curve(right, chances.max(axis=1), n_bins=diagnosis.BINS)
    assert [r["accuracy"] for r in ours] == pytest.approx(true)
    assert [r["confidence"] for r in ours] == pytest.approx(predicted)


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (3, 12), (12, 12)])
def test_intervals_of_shares_are_those_of_statsmodels(hits: int, n: int) -> None:
    exact = proportion_confint(hits, n, method="beta")
    assert racing.clopper_pearson(hits, n) == pytest.approx(exact, nan_ok=True) or hits in (0, n)
    assert racing.clopper_pearson(hits, n)[0 if hits else 1] == pytest.approx(
        exact[0 if hits else 1], nan_ok=True
    )
    assert diagnosis.wilson(hits / n, n) == pytest.approx(proportion_confint(hits, n, method="wilson"))


def test_axes_are_as_the_search_drew_them(run_folder: Path) -> None:
    lr = {"loguniform": [1e-4, 1e-3]}
    study = {"study": "s", "loss": {"lambda": {"uniform": [0, 1]}}, "train": {"lr": lr}}
    run = replace(load(str(run_folder)), study=study)
    rows = [{"config_id": str(n), "loss.lambda": v, "train.lr": v / 1e3, "loss.gamma": v}
            for n, v in enumerate((0.01, 0.5, 0.9))]  # fmt: skip
    assert configs.logarithmic(run, rows) == {"train.lr", "loss.gamma"}


def test_a_configuration_that_refines_is_scored_on_refined_predictions(run_folder: Path) -> None:
    run = load(str(run_folder))
    first = run.complete[0].id
    entries = [replace(c, config={"predict": {"refine": c.id == first}}) for c in run.configs]
    run = replace(run, configs=tuple(entries), study={"search": {"objective": "dice"}})
    rows = stack.read(run, "test")
    score = score_statistic(run)
    assert score is not None
    found = pooled.figures(rows, score)
    names = ["refined_dice" if config == first else "dice" for config in rows.configs]
    wanted = [rows.columns[name][n].mean() for n, name in enumerate(names)]
    assert found == pytest.approx(wanted)


def test_importance_finds_the_parameter_that_matters() -> None:
    rng = np.random.default_rng(0)
    rows = [{"config_id": str(n), "lr": float(10 ** rng.uniform(-4, -1)), "noise": float(rng.random()),
             "score_mean": 0.0, "score_std": 0.01} for n in range(60)]  # fmt: skip
    rows = [row | {"score_mean": -abs(np.log10(float(row["lr"])) + 2.5)} for row in rows]
    found = importance.importance(rows, {"lr"})
    assert found[0]["parameter"] == "lr"
    assert found[0]["importance"] > 0.8


def test_only_what_varies_is_a_hyperparameter(run_folder: Path) -> None:
    run = load(str(run_folder))
    names = configs.parameters(configs.frame(run, figures(run)))
    assert set(names) == {"loss.lambda", "loss.gamma", "model.width", "train.lr"}


def test_a_band_is_the_mean_and_spread_of_the_folds(run_folder: Path) -> None:
    run = load(str(run_folder))
    config = run.complete[0]
    rows = [r for r in learning.frame(run, [config]) if r["column"] == "train_total" and r["epoch"] == 3]
    values = [run.epochs(config.id, f)["train_total"].to_pylist()[2] for f in run.folds]
    assert rows[0]["mean"] == pytest.approx(np.mean(values))
    assert rows[0]["std"] == pytest.approx(np.std(values, ddof=1))


def test_deviations_of_plain_noise_are_measured_in_its_own_deviation() -> None:
    """Two-way means take their part of it: a residual has (C − 1)(F − 1)/CF of the variance."""
    noise = np.random.default_rng(0).normal(0.5, 0.02, (400, 5, 1))
    known = Figures(tuple(map(str, range(400))), tuple("abcde"), ("dice",), {"test": noise}, {"test": 0.25})
    expected = np.sqrt(399 * 4 / (400 * 5))
    assert boards.sigmas(known, "test", "dice").std() == pytest.approx(expected, rel=0.03)


def test_a_planted_outlier_is_marked_and_a_hard_fold_is_not() -> None:
    scores = 0.7 + np.random.default_rng(0).normal(0, 0.01, (12, 5, 1))
    scores[:, 3] -= 0.3
    scores[4, 1] -= 0.15
    names = tuple(f"k{n}" for n in range(12))
    known = Figures(names, ("a", "b", "c", "d", "e"), ("score",), {"validation": scores}, {"validation": 0.2})
    far = np.argwhere(np.abs(boards.sigmas(known, "validation", "score")) > boards.OUTLIER)
    assert [4, 1] in far.tolist()
    assert (far[:, 0] == 4).all()


def nested_run(place: Path, **changes: object) -> Path:
    plan = Plan(configs=4, folds=2, outer=3, cases=120, quality=(0.3, 0.4, 0.95, 0.5), tested=2)
    return make_run(place, replace(plan, **changes))


def test_the_outer_estimate_is_the_mean_of_the_outer_folds_picks(tmp_path: Path) -> None:
    run = load(str(nested_run(tmp_path / "run")))
    assert len(run.folds) == 6
    found = nested.rows(run, Select())
    assert {row["config_id"] for row in found} == {run.configs[2].id}
    dice = next(row for row in nested.estimates(found) if row["metric"] == "dice")
    assert dice["mean"] == pytest.approx(np.mean([r.test["dice"] for r in run.finals]))
    assert dice["outer_folds"] == 3


def test_of_two_tested_on_an_outer_fold_the_pick_of_its_inner_folds_counts(tmp_path: Path) -> None:
    folder = nested_run(tmp_path / "run")
    run = load(str(folder))
    worse = run.configs[0].id
    shutil.copytree(folder / f"results/{run.configs[2].id}/o1", folder / f"results/{worse}/o1")
    result = folder / f"results/{worse}/o1/result.json"
    record = json.loads(result.read_text())["result"] | {"key": worse}
    body = json.dumps(record, sort_keys=True)
    result.write_text(json.dumps({"sha256": digest(body.encode()), "result": record}))
    again = load(str(folder))
    assert len(again.finals) == 4
    assert {row["config_id"] for row in nested.rows(again, Select())} == {run.configs[2].id}


def test_outer_folds_are_counted_among_what_was_trained(tmp_path: Path) -> None:
    told = "4 complete, 24 folds and 3 outer folds trained."
    assert told in subtitle(load(str(nested_run(tmp_path / "run"))))


def test_the_outer_estimate_stands_beside_the_corrected_one(tmp_path: Path) -> None:
    run = load(str(nested_run(tmp_path / "run")))
    study = study_of(run, Select(bootstraps=100))
    section = correction.section(study)
    assert section is not None
    shown = {table.name: table for table in section.shown}
    assert {"optimism", "outer_estimate", "outer_folds"} <= set(shown)
    dice = next(row for row in shown["optimism"].rows if row["metric"] == "dice")
    assert dice["outer"] == pytest.approx(np.mean([row["dice"] for row in study.outer]))
    told = f", outer folds {dice['outer']:.3f} ± {dice['outer_std']:.3f}"
    assert next(line for line in parts.sentences(study) if line.startswith("Dice:")).endswith(told)
    assert next(h for h in parts.headlines(study).rows if h.label == "Test Dice").note.endswith(told)


def test_a_pick_that_is_not_trained_on_its_outer_fold_yet_has_no_estimate(tmp_path: Path) -> None:
    """After an extension another one is picked; what the old pick came to says nothing of the new one."""
    folder = nested_run(tmp_path / "run")
    run = load(str(folder))
    stale = replace(run, finals=tuple(replace(r, key=run.configs[0].id) for r in run.finals))
    found = nested.rows(stale, Select())
    assert {row["config_id"] for row in found} == {run.configs[2].id}
    assert {row["told"] for row in found} == {"its pick is not trained yet"}
    assert nested.estimates(found) == []


def test_an_outer_fold_that_was_not_tested_leaves_no_outer_estimate(tmp_path: Path) -> None:
    folder = nested_run(tmp_path / "run")
    run = load(str(folder))
    shutil.rmtree(folder / f"results/{run.configs[2].id}/o2")
    found = nested.rows(load(str(folder)), Select())
    assert [row["told"] for row in found] == ["", "", "not trained yet"]
    assert nested.estimates(found) == []
    assert "no outer estimate yet" in nested.told(run, found, Select())


def test_the_page_says_by_which_rule_the_outer_folds_were_picked(tmp_path: Path) -> None:
    run = load(str(nested_run(tmp_path / "run")))
    assert "one_se chose by its inner folds" in nested.told(run, [], Select(rule="one_se"))
    told = nested.told(run, [], Select(rule="median_rank"))  # the search knew Dice and F1 as their sum only
    assert "best_mean chose by its inner folds" in told
    assert "The pick above is by median_rank" in told


def test_a_copied_command_names_the_run_and_does_nothing_else(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "my run; echo hurt $(id)", Plan(configs=2, cases=60, epochs=2))
    section = parts.pick(study_of(load(str(folder)), Select(bootstraps=100)))
    commands = [shlex.split(b.text) for b in section.blocks if isinstance(b, Code) and b.name != "yaml"]
    wanted = [["sonotune", name, str(folder)] for name in ("predict", "export")]
    assert [command[:3] for command in commands] == wanted


def test_every_published_table_is_whole() -> None:
    for table in published.published().values():
        assert all(len(row["values"]) == len(table.metrics) == len(table.scales) for row in table.rows)
        assert table.protocol in ("folds", "one_split", "hold_out")
    row = next(r for r in published.find("acsnet.5").rows if r["name"] == "ACSNet")
    assert row["values"][0] == (84.90, 1.69)


@pytest.mark.parametrize(
    ("key", "source", "cases", "folds", "marking"),
    [("refining.8", "busi", 450, 4, published.SAME), ("refining.8", "busi", 450, 5, published.SAME_DATA),
     ("refining.8", "busi", 780, 4, published.NOT), ("refining.8", "phantom", 450, 4, published.NOT),
     ("mtl_oca.2", "busi", 780, 5, published.ONE_SPLIT), ("two_stage.4", "busi", 780, 5, published.NOT),
     ("acsnet.5", "busi", 647, 5, published.SAME)],
)  # fmt: skip
def test_published_figures_say_how_far_they_compare(
    key: str, source: str, cases: int, folds: int, marking: str, run_folder: Path
) -> None:
    names = [f"c{n}" for n in range(cases)]
    rows = [{"name": f"r0-f{f}", "repeat": 0, "test": names[f::folds]} for f in range(folds)]
    run = replace(load(str(run_folder)), study={"data": {"source": source}}, manifest={"folds": rows})
    assert published.mark(published.find(key), run) == marking


@pytest.mark.parametrize(("source", "ranked"), [("busi", True), ("phantom", False)])
def test_our_row_is_ranked_among_the_printed_ones_only_where_they_compare(
    tmp_path: Path, source: str, ranked: bool
) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=2, folds=4, cases=450, quality=(1.5, 1.4), epochs=2))
    run = replace(load(str(folder)), study={"data": {"source": source}})
    config = {"model": {"name": "mt_unetpp"}}
    run = replace(run, configs=tuple(replace(c, config=config) for c in run.configs))
    table = published.find("refining.8")
    shown = published.paper_table(table, published.frame(table, run, figures(run)), run)
    best = next(n for (n, key), rank in shown.ranks().items() if (key, rank) == ("dice", "best"))
    assert (shown.rows[best]["whose"] != "printed") == ranked
    assert ("this run's data is phantom" in shown.note) != ranked


def test_each_model_stands_with_its_best_configuration(run_folder: Path) -> None:
    run = load(str(run_folder))
    names = ("acsnet", "mtl_oca", "acsnet")
    configs = [replace(c, config={"model": {"name": names[n % 3]}}) for n, c in enumerate(run.configs)]
    run = replace(run, configs=tuple(configs))
    known = figures(run)
    table = by_model.table(run, known)
    assert table is not None
    for row in table.rows:
        own = [c.id for c in configs if c.config["model"]["name"] == row["model"]]
        scores = {
            c: known.of("validation", "score")[known.configs.index(c)] for c in own if c in known.configs
        }
        best = max(scores, key=lambda c: float(scores[c].mean()))
        assert (row["tried"], row["complete"], row["config_id"]) == (len(own), len(scores), best)
        assert row["validation_score_mean"] == pytest.approx(scores[best].mean())
        assert row["validation_score_std"] == pytest.approx(scores[best].std(ddof=1))
        means = [float(s.mean()) for s in scores.values()]
        assert row["score_over_configurations"] == pytest.approx(np.mean(means))
    assert by_model.table(load(str(run_folder)), known) is None  # one model only


def test_an_unknown_table_lists_the_known_ones() -> None:
    with pytest.raises(SonotuneError, match=r"acsnet\.5"):
        published.find("acsnet.99")


def test_runs_on_the_same_folds_lie_side_by_side(tmp_path: Path) -> None:
    runs = [
        load(str(make_run(tmp_path / name, Plan(configs=n, name=name)))) for name, n in (("a", 3), ("b", 2))
    ]
    both = together(runs, str(tmp_path / "out"))
    assert len(both.configs) == 5
    known = figures(both)
    study = study_of(both, Select(baseline=runs[1].configs[0].id + "·2"))
    assert set(study.test.configs) == set(known.configs)


def test_a_run_without_a_finished_fold_may_come_first(tmp_path: Path) -> None:
    begun = load(str(make_run(tmp_path / "a", Plan(configs=2, dropped=2, name="a"))))
    done = load(str(make_run(tmp_path / "b", Plan(configs=2, name="b"))))
    both = together([replace(begun, classes=()), done], str(tmp_path / "out"))
    assert both.classes == done.classes


def test_equal_scores_leave_nothing_to_explain() -> None:
    rows = [{"config_id": str(n), "train.lr": 0.1 * (n + 1), "score_mean": 0.5} for n in range(8)]
    assert importance.importance(rows) == []
    rows[0]["score_mean"] = 0.7
    assert [row["parameter"] for row in importance.importance(rows)] == ["train.lr"]


def test_a_parameter_that_is_off_in_one_run_has_no_logarithmic_axis(run_folder: Path) -> None:
    run = load(str(run_folder))
    drawn = replace(run, study=dict(run.study) | {"train": {"decay": {"loguniform": [1e-6, 1e-2]}}})
    rows = [{"config_id": str(n), "train.decay": value} for n, value in enumerate((1e-5, 1e-3, 1e-2))]
    assert configs.logarithmic(drawn, rows) == {"train.decay"}
    assert configs.logarithmic(drawn, [*rows, {"config_id": "x", "train.decay": 0.0}]) == frozenset()


def test_a_count_just_below_a_unit_is_read_in_the_next() -> None:
    column = Column("n", "N", "count")
    assert [formatted(column, value) for value in (999_400, 999_600, 999.6e6)] == ["999 k", "1 M", "1 G"]


def test_runs_that_pick_otherwise_say_so(tmp_path: Path) -> None:
    runs = [load(str(make_run(tmp_path / name, Plan(configs=2, name=name)))) for name in ("a", "b")]
    other = replace(runs[1], study=dict(runs[1].study) | {"select": {"rule": "one_se"}})
    assert not together(runs, str(tmp_path / "out")).manifest["warnings"]
    told = together([runs[0], other], str(tmp_path / "out")).manifest["warnings"]
    assert told == ["b picks by another select or search.constraints; those of a count here"]


def test_a_baseline_that_no_configuration_is_costs_no_report(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", Plan(configs=2, cases=30))))
    study = study_of(run, Select(baseline="abcdef", bootstraps=100))
    assert "baseline" not in study.others.values()
    assert not study.problems
    assert any("Nothing is tested against select.baseline" in line for line in warnings_of(study))
    own = study_of(run, Select(baseline=study.picked, bootstraps=100))
    assert "is the pick itself" in own.unusable


def test_numbers_in_csv_files_are_plain() -> None:
    rows = [{"a": np.float64(0.25), "b": np.float32(0.5), "c": 1.5, "d": np.int64(3), "e": np.nan}]
    assert Table("t", "T", (), rows).csv() == b"a,b,c,d,e\n0.25,0.5,1.5,3,\n"


def test_runs_on_other_folds_are_refused_with_the_reason(tmp_path: Path) -> None:
    runs = [load(str(make_run(tmp_path / str(s), Plan(configs=2, seed=s)))) for s in (0, 1)]
    with pytest.raises(SonotuneError, match=r"fold r0-f0 has other train cases"):
        together(runs, str(tmp_path / "out"))
    goal = replace(runs[0], study={"search": {"objective": "hd95"}})
    with pytest.raises(SonotuneError, match=r"different objectives \(search\.objective\)"):
        together([runs[0], goal], str(tmp_path / "out"))
    other = load(str(make_run(tmp_path / "k", Plan(configs=2, folds=4))))
    with pytest.raises(SonotuneError, match="r0-f3"):
        together([runs[0], other], str(tmp_path / "out"))
