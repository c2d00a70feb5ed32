"""A two-stage run beside a multi-task run on the same folds: one page, both shapes, the same rules."""

import copy
import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from engine.journal.journal import Journal
from engine.race.events import Ended, Opened, Started, to_record
from engine.results import RunPaths, read_result, read_table, write_result
from engine.spec.select import Select
from engine.spec.study import Configuration
from engine.storage import LocalStorage
from engine.task import Task
from reports import first_stages, published
from reports.aggregate import figures
from reports.boards import board_table
from reports.command import page
from reports.load import load
from reports.racing import cells
from reports.shape import model_of, models_of, planned, written
from reports.study import study_of
from reports.warn import warnings_of
from tests.trained import finished_run

torch.set_num_threads(1)
NETWORK = {"name": "unet_mtl", "width": 4, "depth": 2}
SEGMENT = NETWORK | {"loss": {"segmentation": "tversky"}, "train": {"epochs": 6, "batch": 4, "lr": 1e-2}}
CLASSIFY = NETWORK | {"train": {"epochs": 3, "batch": 8, "lr": 1e-3}}
SHAPES: dict[str, dict[str, Any]] = {
    "multi-task": {"model": NETWORK, "train": {"epochs": 2, "batch": 8}},
    "two-stage": {
        "model": {"two_stage": {"segment": SEGMENT, "classify": CLASSIFY, "inner_folds": 2}},
        "predict": {"threshold": 0.4},
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    common = {"data": {"source": "phantom", "count": 30, "size": 32}, "folds": {"k": 2}}
    one, two = (
        finished_run(tmp_path_factory.mktemp(name), {"study": name} | common | shape)
        for name, shape in SHAPES.items()
    )
    return one, two


@pytest.fixture(scope="module")
def report(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("beside")
    page([str(run) for run in runs], None, str(out), Console(quiet=True))
    return out / "report"


def test_both_shapes_stand_on_one_leaderboard_under_the_names_of_their_networks(report: Path) -> None:
    summary = json.loads((report / "summary.json").read_text())
    assert [c["status"] for c in summary["configs"]] == ["complete", "complete"]
    lines = (report / "tables/leaderboard.csv").read_text().splitlines()
    model = lines[0].split(",").index("model")
    assert {line.split(",")[model] for line in lines[1:]} == {"unet_mtl", "unet_mtl → unet_mtl"}


def test_a_branchs_own_settings_are_not_listed_where_they_do_not_vary(report: Path) -> None:
    text = (report / "report.md").read_text()
    facts = [line for line in text.splitlines() if line.startswith("- model.")]
    assert any(line.startswith("- model.name: unet") for line in facts)
    assert not [line for line in text.splitlines() if line.startswith("- ") and line.endswith(": –")]
    assert not [line for line in facts if ".augment." in line]


def test_a_long_name_of_a_setting_breaks_after_its_dots_and_not_within_a_word(report: Path) -> None:
    assert "<dt>model.<wbr>name</dt>" in (report / "index.html").read_text()


def test_the_page_says_how_many_trainings_of_first_stages_were_saved(report: Path) -> None:
    told = "2 trainings of first stages served 2 folds of second stages: 0 trainings were saved."
    assert told in (report / "index.html").read_text()


def test_what_was_taken_over_or_stopped_is_counted_as_what_it_is(runs: tuple[Path, Path]) -> None:
    """Three configurations of one first stage: a fold of one was stopped, that of another taken over."""
    run = load(str(runs[1]))
    (one,) = run.configs
    others = [replace(one, id=name, folds={}) for name in ("stopped", "adopted")]
    began = [Started(Task(name, "r0-f0")) for name in (one.id, "stopped", "adopted")]
    over = Ended(Task("adopted", "r0-f0"), "complete", 0.5, (0.5,))
    journal = [*map(to_record, began), to_record(over) | {"reused": True}]
    told = replace(run, configs=(one, *others), journal=tuple(journal))
    assert first_stages.sharing(told) == {"trained": 2, "served": 3, "saved": 1}
    adopted = Ended(Task(run.stages[0].key, "r0-f0"), "complete", 0.5, (0.5,))
    told = replace(told, journal=(*told.journal, to_record(adopted) | {"reused": True}))
    assert first_stages.sharing(told) == {"trained": 1, "served": 3, "saved": 2}


def test_outer_folds_need_first_stages_as_well(runs: tuple[Path, Path]) -> None:
    run = load(str(runs[1]))
    (one,) = run.configs
    nested = replace(run, configs=(replace(one, folds={}),), finals=tuple(one.folds.values()))
    assert first_stages.sharing(nested) == {"trained": 2, "served": 2, "saved": 0}


def test_a_configuration_whose_first_stage_failed_is_told_of_with_the_reason(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(runs[1], tmp_path / "run"))
    run = load(str(folder))
    (config,), storage = run.configs, LocalStorage(folder)
    shutil.rmtree(folder / "results" / config.id)
    (first,) = (stage for stage in run.stages if stage.fold == "r0-f0")
    failed = replace(first, status="failed", error="Traceback (most recent call last)\nValueError: no memory")
    write_result(storage, Task(first.key, first.fold), failed, {})
    journal = Journal(storage)
    journal.append(to_record(Opened(config.id, 3, first.key)))
    journal.commit()
    (told,) = load(str(folder)).configs
    assert told.status == "failed"
    assert told.reason.splitlines()[-1] == "ValueError: no memory"
    page([str(folder)], None, None, Console(quiet=True))
    assert "Configurations that have a fold that crashed: 1;" in (folder / "report/index.html").read_text()
    assert "ValueError: no memory" in (folder / "report/tables/missing.csv").read_text()
    assert "ValueError: no memory" in (folder / "report/tables/stages.csv").read_text()


def test_the_page_of_a_pair_shows_where_its_classifier_looks(runs: tuple[Path, Path]) -> None:
    page([str(runs[1])], None, None, Console(quiet=True))
    told = (runs[1] / "report/index.html").read_text()
    assert "Grad-CAM" in told
    shown = list((runs[1] / "results").glob("*/*/gallery/*cam*"))
    assert shown
    assert np.ptp(np.asarray(Image.open(shown[0]).convert("L"), float)) > 0


def test_what_a_pair_costs_is_what_both_its_networks_cost(runs: tuple[Path, Path]) -> None:
    run = load(str(runs[1]))
    (config,) = run.configs
    for fold, result in config.folds.items():
        (first,) = (stage for stage in run.stages if stage.fold == fold)
        assert result.parameters > first.parameters > 0
        assert result.flops > first.flops > 0
        assert result.latency_ms > first.latency_ms > 0
        again = read_result(LocalStorage(runs[1]), Task(config.id, fold))
        assert again is not None
        assert again.parameters == result.parameters


def test_a_pair_has_the_tables_of_masks_and_those_of_classes(runs: tuple[Path, Path]) -> None:
    page([str(runs[1])], None, None, Console(quiet=True))
    tables = runs[1] / "report/tables"
    lines = {name: (tables / f"{name}.csv").read_text().splitlines() for name in ("stages", "confusion")}
    assert len(lines["stages"]) == 1 + 2
    assert "test_dice" in lines["stages"][0]
    assert len(lines["confusion"]) == 1 + 3 * 2  # classes, raw and refined
    assert (tables / "roc.csv").stat().st_size > 0


def test_the_curves_of_the_picks_first_stage_are_those_of_its_last_segmenter(runs: tuple[Path, Path]) -> None:
    page([str(runs[1])], None, None, Console(quiet=True))
    folder, (first, *_) = runs[1] / "report", load(str(runs[1])).stages
    place = f"{RunPaths.result(Task(first.key, first.fold))}/epochs.parquet"
    trained = read_table(LocalStorage(runs[1]), place).to_pylist()
    assert [row["network"] for row in trained] == [0] * 6 + [1] * 6 + [2] * 6
    lines = list(csv.DictReader((folder / "tables/first_curves.csv").open()))
    losses = {int(line["epoch"]): float(line["mean"]) for line in lines if line["column"] == "train_total"}
    both = [read_table(LocalStorage(runs[1]), place.replace("r0-f0", fold)) for fold in ("r0-f0", "r0-f1")]
    wanted = np.mean([table["train_total"].to_numpy()[12:] for table in both], axis=0)
    assert losses == pytest.approx(dict(enumerate(wanted, 1)))
    assert (folder / "figures/learning-first-0.svg").exists()


def test_the_picked_pair_is_shown_without_the_settings_that_nothing_reads(runs: tuple[Path, Path]) -> None:
    (config,) = load(str(runs[1])).configs
    shown = written(config.config)
    assert not {"loss", "train", "augment"} & shown.keys()
    assert Configuration.model_validate(shown).config_id == config.id


def test_the_table_of_first_stages_has_the_figures_of_their_masks(runs: tuple[Path, Path]) -> None:
    """Recounted from the case rows that the first stage has stored."""
    run = load(str(runs[1]))
    stages = {stage.fold: stage for stage in run.stages}
    (row,) = first_stages.board(run, 0.95).rows
    assert (row["model"], row["inner_folds"], row["served"]) == ("unet_mtl", 2, 1)
    for split in ("validation", "test"):
        for metric, column in {"dice": "dice", "mask_precision": "precision", "mask_recall": "recall",
                               "hd95": "hd95", "assd": "assd"}.items():  # fmt: skip
            of_fold = []
            for fold, stage in stages.items():
                place = f"{RunPaths.result(Task(stage.key, fold))}/cases_{split}.parquet"
                values = read_table(LocalStorage(runs[1]), place)[column].to_numpy()
                of_fold.append(values[~np.isnan(values)].mean())
            assert row[f"{split}_{metric}_mean"] == pytest.approx(np.mean(of_fold))
            assert row[f"{split}_{metric}_std"] == pytest.approx(np.std(of_fold, ddof=1))


def test_a_first_stage_without_all_its_folds_has_no_mean(runs: tuple[Path, Path]) -> None:
    run = load(str(runs[1]))
    (row,) = first_stages.board(replace(run, stages=run.stages[:1]), 0.95).rows
    assert row["folds_done"] == 1
    assert math.isnan(row["test_dice_mean"])


def test_masks_that_are_the_truth_are_told_of_at_the_top(runs: tuple[Path, Path]) -> None:
    run = load(str(runs[1]))
    truth = copy.deepcopy(dict(run.configs[0].config))
    truth["model"]["two_stage"]["masks"] = "truth"
    told = replace(run, configs=[replace(run.configs[0], config=truth)])
    said = [
        any("masks: truth" in warning for warning in warnings_of(study_of(r, Select()))) for r in (run, told)
    ]
    assert said == [False, True]
    models = [board_table(each, figures(each)).rows[0]["model"] for each in (run, told)]
    assert models == ["unet_mtl → unet_mtl", "unet_mtl → unet_mtl (true masks)"]


def test_the_race_plans_the_epochs_of_the_second_stage(runs: tuple[Path, Path]) -> None:
    assert {row["planned"] for row in cells(load(str(runs[1])))} == {3}
    assert {row["planned"] for row in cells(load(str(runs[0])))} == {2}


@pytest.mark.parametrize(
    ("config", "models", "epochs"),
    [({"model": {"name": "acsnet"}, "train": {"epochs": 7}}, ("acsnet",), 7),
     ({"model": {"mtl_oca": {}}}, ("mtl_oca",), 0),
     ({"model": {"name": "unet_mtl", "two_stage": {"segment": {"name": "u2net"},
                                                   "classify": {"name": "alexnet", "train": {"epochs": 5}}}},
       "train": {"epochs": 100}}, ("u2net", "alexnet"), 5)],
)  # fmt: skip
def test_a_record_of_either_shape_names_its_networks(
    config: dict[str, Any], models: tuple[str, ...], epochs: int
) -> None:
    assert models_of(config) == models
    assert model_of(config) == " → ".join(models)
    assert planned(config) == epochs


def test_a_printed_row_finds_the_pair_that_has_its_network(runs: tuple[Path, Path]) -> None:
    run = load(str(runs[1]))
    known = figures(run)
    assert published.best_of(run, known, "unet_mtl") == run.configs[0].id
    assert published.best_of(run, known, "alexnet") is None
