"""What a report says against itself: warnings, cautions, what it could not correct, foreign files."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.lock.holder import Holder, encode
from engine.results import RunPaths
from engine.spec.select import Select
from reports import boards, correction, cost, diagnosis, significance
from reports.aggregate import Figures, figures, ratios
from reports.load import load
from reports.study import study_of
from reports.together import together
from reports.warn import warnings_of
from reports.watch import watch
from reports.write import write
from tests.runs import Plan, make_run, rewrite
from tests.test_reports_command import SMALL, listening

MANY = Plan(configs=3, folds=3, cases=90, select={"bootstraps": 100})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "small", SMALL)


def test_warnings_of_failed_and_diverged_folds_and_of_leaks(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", MANY)
    first, second, _ = load(str(folder)).configs
    rewrite(folder, first.id, "r0-f0", status="failed", error="a crash")
    rewrite(folder, second.id, "r0-f0", status="diverged")
    study = yaml.safe_load((folder / "study.yaml").read_text()) | {"folds": {"allow_leak": True}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    told = " ".join(warnings_of(study_of(load(str(folder)), Select())))
    for part in (
        "Configurations that have a fold that crashed: 1;",
        "have a fold that diverged",
        "allow_leak is on",
    ):
        assert part in told


def test_scores_of_networks_that_lack_a_task_are_told_apart(tmp_path: Path) -> None:
    plans = MANY, replace(MANY, name="masks", task="segment", seed=1)
    both, masks = (load(str(make_run(tmp_path / plan.name, plan))) for plan in plans)
    mixed = replace(both, configs=(*both.configs, *masks.configs))
    told = [warnings_of(study_of(run, Select())) for run in (both, masks, mixed)]
    said = [[text for text in texts if text.startswith("The scores are of different")] for texts in told]
    assert said[:2] == [[], []]
    assert "(3 by Dice and F1, macro; 3 by Dice)" in said[2][0]


def test_cautions_name_what_tests_cannot_support(tmp_path: Path) -> None:
    run = load(str(make_run(tmp_path / "run", replace(MANY, clusters=30))))
    study = study_of(run, Select(bootstraps=100))
    told = significance.cautions(study.known, study.significance, study.test.grouped, 0.95)
    assert significance.AFTER_SELECTION in told
    assert significance.GROUPED in told
    assert any("3 folds leave 2 degrees of freedom" in text for text in told)
    assert significance.few_folds(10, 0.25, 0.95) == ""
    assert "nothing can be said" in significance.few_folds(1, 0.25, 0.95)


def test_the_ratio_is_that_of_the_true_training_parts(small: Path) -> None:
    run = load(str(small))
    parts_of = json.loads((small / "folds.json").read_text())["folds"]
    sizes = {part: sum(len(fold[part]) for fold in parts_of) for part in ("train", "validation", "test")}
    assert ratios(run) == pytest.approx(
        {split: sizes[split] / sizes["train"] for split in ("validation", "test")}
    )
    assert figures(run).ratio == ratios(run)


def test_the_ratio_outlives_a_lost_folds_json(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL)
    known = ratios(load(str(folder)))
    (folder / "folds.json").unlink()
    assert ratios(load(str(folder))) == pytest.approx(known)


def test_an_outer_fold_is_none_of_the_folds_even_where_no_manifest_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SMALL, outer=2))
    known = load(str(folder)).folds
    (folder / "folds.json").unlink()
    run = load(str(folder))
    assert run.folds == known
    assert "left out of every mean, as outer folds: o0, o1" in " ".join(p.what for p in run.problems)


def test_outer_folds_by_themselves_are_averaged(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SMALL, outer=2))
    (folder / "folds.json").unlink()
    for inner in folder.glob("results/*/o*-r*"):
        shutil.rmtree(inner)
    assert load(str(folder)).folds == ("o0", "o1")


@pytest.mark.parametrize("select", [{"rule": "median_rank", "metrics": ["assd"]},
                                    {"rule": "pareto", "metrics": ["dice", "hausdorff"]}])  # fmt: skip
def test_what_cannot_be_chosen_by_again_is_said_to_be_uncorrected(small: Path, select: dict) -> None:
    study = study_of(load(str(small)), Select(**select))
    assert study.optimism == []
    section = correction.section(study)
    assert section is not None
    assert correction.UNCORRECTED in section.blocks[0].text


def test_a_segmenter_that_is_picked_has_no_corrected_accuracy(tmp_path: Path) -> None:
    """Other models of the study classify."""
    one = make_run(tmp_path / "one", replace(SMALL, task="segment", quality=(0.9, 0.8, 0.9)))
    two = make_run(tmp_path / "two", replace(SMALL, name="other", quality=(0.2, 0.1, 0.1), configs=2))
    run = together([load(str(one)), load(str(two))], str(tmp_path / "both"))
    study = study_of(run, Select(bootstraps=100))
    assert study.run.by_id[study.picked].run == "synthetic"
    assert {row["metric"] for row in study.optimism} >= {"dice", "iou"}
    assert "accuracy" not in {row["metric"] for row in study.optimism}


def test_what_ran_side_by_side_keeps_its_nested_estimate_to_itself(tmp_path: Path) -> None:
    nested = replace(SMALL, outer=2)
    runs = [load(str(make_run(tmp_path / name, replace(nested, name=name)))) for name in ("a", "b")]
    assert study_of(runs[0], Select(bootstraps=100)).outer
    assert study_of(together(runs, str(tmp_path / "both")), Select(bootstraps=100)).outer == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [("folds.json", '{"folds": [{"name": "r0-f0", "train": 5}]}', "folds[0].train is a int, not a list"),
     ("folds.json", '{"folds": [{"name": ["r0-f0"]}]}', "folds[0] is no fold with a name"),
     ("folds.json", '{"finals": 5}', "finals is a int, not a list"),
     ("folds.json", '{"folds": [{"name": "f", "test": [7]}]}', "names a case by something else than a text"),
     ("study.yaml", "search: {objective: {dice: x}}", "search.objective.dice is 'x', not a number"),
     ("study.yaml", "search: {constraints: {parameters: many}}", "search.constraints.parameters is 'many'")],
)  # fmt: skip
def test_a_file_of_another_shape_is_listed_and_the_rest_reported(
    small: Path, tmp_path: Path, name: str, content: str, told: str
) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    (folder / name).write_text(content)
    write(str(folder))
    assert told in (folder / "report/tables/missing.csv").read_text().replace('""', '"')


def test_a_name_with_dollars_is_drawn_as_it_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SMALL, classes=(r"$\frac$", "b", "normal")))
    write(str(folder))
    assert r"$\frac$" in (folder / "report/figures/confusion.svg").read_text()


def test_an_earlier_reports_tables_do_not_stay(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    write(str(folder))
    for name in ("tables/old.csv", "figures/old.svg", "tables/mine.txt"):
        (folder / "report" / name).write_text("?")
    write(str(folder))
    left = [name for name in ("tables/old.csv", "figures/old.svg", "tables/mine.txt", "tables/folds.csv")
            if (folder / "report" / name).exists()]  # fmt: skip
    assert left == ["tables/mine.txt", "tables/folds.csv"]


def test_watching_ends_when_the_driver_is_dead(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    (folder / RunPaths.lock).write_bytes(encode(replace(Holder.me(), started="another process's")))
    page = watch(str(folder), listening()[0], sleep=lambda _: pytest.fail("it waits for a dead driver"))
    assert 'http-equiv="refresh"' not in Path(page).read_text()


@pytest.mark.parametrize(
    ("journal", "resources", "hours"),
    [([], {}, 2.0), ([{"event": "packed", "folds": 4}], {"gpu": "auto"}, 0.5), ([], {"gpu": 0.25}, 0.5)],
)
def test_gpu_hours_count_the_share_that_a_fold_held(
    small: Path, journal: list[dict], resources: dict, hours: float
) -> None:
    run = load(str(small))
    held = {"event": "ended", "held": 7200.0, "task": {"key": run.configs[0].id, "fold": "r0-f0"}}
    study = dict(run.study) | {"resources": resources}
    run = replace(run, journal=(*journal, held), study=study)
    rows = [row | {"device": "cuda"} for row in cost.rows(run)]
    assert cost.totals(cost.hours(run, rows)) == f"All training took {hours:.3g} GPU-hours."


def test_hours_count_each_stretch_once_and_by_the_share_it_had(small: Path) -> None:
    """Reports say how long a fold has been held so far; a driver that was killed has told no end."""
    run = load(str(small))
    task = {"key": run.configs[0].id, "fold": "r0-f0"}
    journal = [
        {"event": "started", "task": task},
        {"event": "reported", "task": task, "held": 3600.0, "gpus": 1.0},
        {"event": "reported", "task": task, "held": 7200.0, "gpus": 1.0},
        {"event": "resumed"},
        {"event": "started", "task": task},
        {"event": "reported", "task": task, "held": 1800.0, "gpus": 0.5},
        {"event": "ended", "task": task, "held": 3600.0, "gpus": 0.5},
    ]
    rows = [row | {"device": "cuda"} for row in cost.rows(run)]
    assert cost.hours(replace(run, journal=tuple(journal)), rows)["hours"] == 2.5


def test_repeats_do_not_narrow_an_interval_of_calibration(tmp_path: Path) -> None:
    def widths(repeats: int) -> float:
        run = load(str(make_run(tmp_path / f"{repeats}", replace(MANY, configs=2, repeats=repeats))))
        study = study_of(run, Select(bootstraps=100))
        rows = diagnosis.calibration_rows(study.test, study.picked)
        assert sum(row["cases"] for row in rows) == 90 * repeats
        assert sum(row["independent"] for row in rows) == pytest.approx(90)
        return float(np.mean([row["high"] - row["low"] for row in rows if row["independent"] > 5]))

    assert widths(5) == pytest.approx(widths(1), rel=0.3)  # as independent cases about 0.45 as wide


def test_numbers_told_in_sentences_stand_in_csv_files(tmp_path: Path) -> None:
    """The pick's reason, hours, the least difference that counts, the front's hypervolume."""
    select = {"rule": "one_se", "bootstraps": 100, "metrics": ["dice", "f1_macro"]}
    folder = make_run(tmp_path / "run", replace(MANY, select=select))
    text = Path(write(str(folder))).read_text()
    tables = {
        path.stem: list(csv.DictReader(path.open())) for path in (folder / "report/tables").glob("*.csv")
    }
    (picked,) = (row for row in tables["choice"] if row["picked"] == "True")
    assert f"its score {float(picked['mean']):.4f} is at least {float(picked['one_se_floor']):.4f}" in text
    assert f"took {float(tables['hours'][0]['hours']):.3g} CPU-hours" in text
    assert f"exceed {float(tables['detectable'][0]['standard_deviations']):.2f} standard" in text
    assert f"worst of each metric: {float(tables['hypervolume'][0]['hypervolume']):.4g}" in text


def test_networks_that_all_say_the_same_have_no_outlying_fold() -> None:
    """What floats leave of equal accuracies, measured by itself, was four deviations."""
    same = np.tile([0.25, 0.3, 0.6, 0.35], (7, 1))[:, :, None]
    known = Figures(tuple("abcdefg"), tuple("wxyz"), ("accuracy",), {"test": same}, {"test": 0.3})
    assert not boards.sigmas(known, "test", "accuracy").any()
