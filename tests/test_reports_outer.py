"""What outer folds say of the pick, by hand, and when they say nothing yet."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.results import digest
from engine.spec.select import Select
from reports import (
    correction,
    nested,
    parts,
)
from reports.build import subtitle
from reports.load import load
from reports.study import study_of
from tests.runs import Plan, make_run


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
