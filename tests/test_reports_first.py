"""From a run folder to its tables, the pick and the files of the report."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import SonotuneError
from engine.spec.select import Select
from engine.storage import open_storage
from reports.aggregate import figures, frame
from reports.choose import choose
from reports.load import load
from reports.write import write
from tests.runs import Plan, make_run, rewrite


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", Plan(configs=7, dropped=2))


def test_a_report_has_all_its_files(run_folder: Path) -> None:
    page = Path(write(str(run_folder)))
    for name in (
        "index.html",
        "report.md",
        "summary.json",
        "tables/leaderboard.csv",
        "tables/leaderboard.tex",
    ):
        assert (page.parent / name).stat().st_size > 0


def test_the_summary_has_the_documented_shape(run_folder: Path) -> None:
    write(str(run_folder))
    summary = json.loads((run_folder / "report/summary.json").read_text())
    assert summary["schema"] == 1
    assert summary["study"] == "synthetic"
    assert set(summary["picked"]) == {"config_id", "config", "rule", "reason"}
    first = next(c for c in summary["configs"] if c["status"] == "complete")
    assert {"config_id", "config", "status", "folds_done", "validation", "test"} <= set(first)
    assert set(first["test"]["dice"]) == {"mean", "std", "folds"}
    assert len(first["test"]["dice"]["folds"]) == 3


def test_a_mean_is_recomputed_from_the_case_rows(run_folder: Path) -> None:
    run = load(str(run_folder))
    rows = {(r["config_id"], r["split"], r["metric"]): r for r in frame(figures(run)).to_pylist()}
    for config in run.complete:
        folder = run_folder / "results" / config.id
        per_fold = [
            np.mean(pq.read_table(folder / f / "cases_test.parquet")["dice"].to_numpy()) for f in run.folds
        ]
        row = rows[config.id, "test", "dice"]
        assert row["mean"] == pytest.approx(np.mean(per_fold), abs=1e-12)
        assert row["std"] == pytest.approx(np.std(per_fold, ddof=1), abs=1e-12)


def test_an_unfinished_configuration_has_no_mean(run_folder: Path) -> None:
    run = load(str(run_folder))
    dropped = [c for c in run.configs if c.status == "dropped"]
    assert len(dropped) == 2
    assert not set(figures(run).configs) & {c.id for c in dropped}


def test_the_pick_has_the_best_mean_validation_score(run_folder: Path) -> None:
    run = load(str(run_folder))
    pick = choose(run, figures(run), Select())
    means = {c.id: np.mean([r.score for r in c.folds.values()]) for c in run.complete}
    assert pick is not None
    assert pick.config_id == max(means, key=lambda c: means[c])
    assert f"{means[pick.config_id]:.4f}" in pick.reason


def test_a_failed_fold_takes_its_configuration_out_and_is_listed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=4))
    victim = load(str(folder)).configs[0].id
    rewrite(
        folder, victim, "r0-f1", status="failed", score=None, error="Traceback\nRuntimeError: out of memory"
    )
    run = load(str(folder))
    assert run.by_id[victim].status == "failed"
    assert victim not in figures(run).configs
    write(str(folder))
    assert "out of memory" in (folder / "report/report.md").read_text()


def test_a_damaged_fold_is_listed_and_the_rest_reported(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=3))
    victim = load(str(folder)).configs[0].id
    (folder / "results" / victim / "r0-f0" / "cases_test.parquet").write_bytes(b"PAR1 not any more")
    run = load(str(folder))
    assert run.by_id[victim].status == "partial"
    assert [p.where for p in run.problems] == [f"results/{victim}/r0-f0"]
    assert Path(write(str(folder))).exists()


def test_a_run_whose_study_is_lost_is_called_by_its_address_without_the_keys_in_it() -> None:
    uri = "memory://lost?secret_key=SECRET"
    make_run(uri, Plan(configs=2, folds=2, cases=40, epochs=2))
    open_storage(uri).delete("study.yaml")
    assert load(uri).name == "memory://lost"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SonotuneError, match="is not a run folder"):
        load(str(tmp_path))


def test_a_summary_of_another_version_is_left_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=2))
    (folder / "report").mkdir()
    (folder / "report/summary.json").write_text('{"schema": 9}')
    with pytest.raises(SonotuneError, match="schema 9"):
        write(str(folder))
    assert (folder / "report/summary.json").read_text() == '{"schema": 9}'
