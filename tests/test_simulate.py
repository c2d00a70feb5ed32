"""The simulator tells a race nothing that a study would not, and judges it by the truth."""

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from engine.cli.simulate import simulate as command
from engine.errors import SonotuneError
from engine.journal.journal import read_journal
from engine.race.race import Race
from engine.race.simulate import Simulation, simulate
from engine.race.table import Table, _held, load_run, load_table
from engine.results import digest
from engine.spec import race as spec
from engine.storage import LocalStorage
from tests.refusals import as_nobody
from tests.runs import Plan, make_run, rewrite

SMALL = str(Path(__file__).parents[1] / "benchmarks" / "tables" / "small.parquet")


def race_of(rule: str, table: Table, **more: float) -> Race:
    choice = spec.Race.model_validate({"rule": rule, "audit": 0.0, **more})
    return Race(choice, table.folds, len(table.scores), learns=False)


def flat(levels: list[float], folds: int = 2, epochs: int = 4) -> Table:
    scores = np.broadcast_to(np.array(levels)[:, None, None], (len(levels), folds, epochs)).copy()
    return Table("flat", scores, np.array(levels), np.ones(len(levels)))


@pytest.fixture(scope="module")
def small() -> Table:
    return load_table(SMALL)


def test_training_everything_costs_everything_and_regrets_nothing(small):
    outcome = Simulation(small, race_of("none", small), list(range(len(small.scores))), 3).run().outcome()
    assert (outcome.spent, outcome.regret, outcome.rank, outcome.wrong) == (1.0, 0.0, 0, False)
    assert outcome.complete == len(small.scores)


def test_the_wall_is_the_same_work_over_more_workers(small):
    walls = [
        Simulation(small, race_of("none", small), list(range(len(small.scores))), slots).run().now
        for slots in (1, 4)
    ]
    assert walls[0] == pytest.approx(float(small.seconds.sum()) * 3 * 12)
    assert walls[0] / 4 <= walls[1] < walls[0] / 3


def test_every_start_is_paid_for():
    table = flat([0.5, 0.6])
    outcome = Simulation(table, race_of("none", table), [0, 1], 1, overhead=0.5).run().outcome()
    assert outcome.spent == pytest.approx(1 + 4 * 0.5 / 16)


def test_a_drop_stops_the_other_running_folds_at_their_next_epoch():
    table = replace(flat([0.9, 0.1], folds=4), seconds=np.array([1.0, 1.5]))
    simulation = Simulation(table, race_of("aggressive", table), [0, 1], 3).run()
    assert simulation.decisions[0].config == "c1"
    assert 16 < simulation.spent < 32
    assert simulation.spent % 4 != 0


def test_the_same_seed_gives_the_same_studies(small):
    def make(folds, configs, seed):
        return Race(spec.Race(rule="reserve"), folds, configs, seed=seed, learns=False)

    assert simulate(small, make, 2, 4, seed=3) == simulate(small, make, 2, 4, seed=3)


def test_the_default_rule_saves_most_of_the_work(small):
    def make(folds, configs, seed):
        return Race(spec.Race(audit=0.0), folds, configs, seed=seed, learns=False)

    outcomes = simulate(small, make, 6, 1)
    assert np.mean([outcome.spent for outcome in outcomes]) < 0.5
    assert np.mean([outcome.regret for outcome in outcomes]) < 0.5


def test_scores_are_best_so_far_and_the_test_score_is_of_the_chosen_epoch(tmp_path):
    rows = [
        {"config": 7, "fold": fold, "epoch": epoch, "val_x": value, "test_x": 10 * value + fold}
        for fold in (0, 1)
        for epoch, value in ((1, 0.2), (2, 0.6), (3, 0.4))
    ]
    rows.append({"config": 8, "fold": 0, "epoch": 1, "val_x": 0.1, "test_x": 0.1})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = load_table(str(tmp_path / "t.parquet"), ["val_x"])
    assert table.scores[0, 0].tolist() == [0.2, 0.6, 0.6]
    assert table.test.tolist() == [6.5]
    assert table.left_out == 1


def test_a_table_without_the_columns_names_them():
    with pytest.raises(SonotuneError, match="must have the columns \\['val_iou'\\]"):
        load_table(SMALL, ["val_iou"])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("seconds", 0.0, "seconds must be above 0"),
        ("seconds", None, "seconds must be above 0"),
        ("seconds", float("inf"), "seconds must be above 0"),
        ("config", None, "['config'] must have a value"),
        ("fold", None, "['fold'] must have a value"),
        ("val_x", "0.5", "['val_x'] must be numbers"),
        ("test_x", "0.5", "['test_x'] must be numbers"),
    ],
)
def test_a_table_that_cannot_be_replayed_says_what_is_wrong_with_it(tmp_path, column, value, said):
    rows = [{"config": "a", "fold": 0, "epoch": 1, "val_x": 0.5, "test_x": 0.5, "seconds": 1.0}] * 2
    table = pa.Table.from_pylist([rows[0] | {column: value}] + ([] if isinstance(value, str) else rows[1:]))
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(SonotuneError, match=re.escape(said)):
        load_table(str(tmp_path / "t.parquet"), ["val_x"])


def test_two_rows_of_one_epoch_are_told(tmp_path):
    rows = [{"config": "a", "fold": fold, "epoch": 1, "val_x": 0.5} for fold in (0, 1, 1)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    with pytest.raises(SonotuneError, match="config a, fold 1, epoch 1 has 2 rows; leave one of them"):
        load_table(str(tmp_path / "t.parquet"), ["val_x"])


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_what_has_no_finite_score_somewhere_is_left_out(tmp_path, bad):
    rows = [
        {"config": config, "fold": 0, "epoch": epoch, "val_x": bad if config == epoch == 1 else 0.5}
        for config in (0, 1)
        for epoch in (1, 2)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    table = load_table(str(tmp_path / "t.parquet"), ["val_x"])
    assert (len(table.scores), table.left_out) == (1, 1)


def run_command(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_run_in_a_bucket_is_replayed_and_the_keys_of_its_address_are_not_shown():
    uri = "memory://replayed?secret_key=SECRET"
    make_run(uri, Plan(configs=4, folds=2, cases=40, epochs=3))
    text = run_command(uri, "--rule", "none", "--slots", "1", "--repeats", "1", "--json")
    assert [row["table"] for row in json.loads(text)] == ["memory://replayed"]


def test_the_command_prints_for_programs_and_draws(tmp_path):
    figure = tmp_path / "frontier.png"
    text = run_command(
        SMALL, "--rule", "reserve", "--rule", "asha", "--slots", "1,4", "--repeats", "2", "--json",
        "--figure", str(figure), "--set", "price=0.02",
    )  # fmt: skip
    rows = json.loads(text)
    assert [(row["rule"], row["slots"]) for row in rows] == [
        ("reserve", 1), ("reserve", 4), ("asha", 1), ("asha", 4),
    ]  # fmt: skip
    assert figure.stat().st_size > 5000


def test_the_command_prints_a_table_whole_whatever_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = run_command(SMALL, "--rule", "forgiving", "--slots", "2", "--repeats", "1")
    assert "forgiving" in text
    assert "…" not in text
    assert len(re.findall(r"\d\.\d{3}", text)) >= 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rule", "best"], "rules are none"),
        (["--slots", "0"], "--slots must be"),
        (["--set", "prise=3"], "--set: prise: there is no such name; did you mean 'price'?"),
        (["--set", "price=dear"], "--set: price: got 'dear'; should be a valid number"),
        (["--score", "val_iou"], "val_iou"),
        (["--figure", "frontier.xyz"], "must end in one of"),
    ],
)
def test_a_wrong_option_is_told_with_its_rule(arguments, said):
    with pytest.raises(SonotuneError, match=said):
        run_command(SMALL, *arguments)


def test_a_table_that_is_not_there_is_told():
    with pytest.raises(SonotuneError, match=r"there is no nowhere\.parquet; give a Parquet file"):
        run_command("nowhere.parquet")


@pytest.fixture
def closed():
    """A folder, and a table in it, that only their owner may read; everybody sees where they lie."""
    place = Path(tempfile.mkdtemp())
    shutil.copy(SMALL, place / "table.parquet")
    (place / "run").mkdir()
    place.chmod(0o755)
    for name in ("run", "table.parquet"):
        (place / name).chmod(0)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("name", ["run", "run/inside", "table.parquet"])
def test_what_must_not_be_read_is_told(closed, name):
    with (
        as_nobody(),
        pytest.raises(SonotuneError, match=r"(cannot|must be a Parquet file that can be) read|list"),
    ):
        run_command(str(closed / name), "--rule", "none")


def test_the_folds_of_a_run_are_those_that_it_was_to_train(tmp_path):
    """Where no configuration got to the last of them, none is complete."""
    folder = make_run(tmp_path / "run", Plan(configs=2, folds=3, epochs=4, cases=30))
    for place in folder.glob("results/*/r0-f2"):
        shutil.rmtree(place)
    with pytest.raises(SonotuneError, match="holds no configuration with all of its folds"):
        load_run(str(folder))


def test_a_fold_that_took_no_time_or_lost_its_epochs_is_told(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=2, folds=2, epochs=4, cases=30))
    path = sorted(folder.glob("results/*/*/result.json"))[0]
    change(path, seconds=0.0)
    with pytest.raises(SonotuneError, match="seconds must be above 0 in every finished fold"):
        load_run(str(folder))
    (path.parent / "epochs.parquet").unlink()
    with pytest.raises(SonotuneError, match=r"has lost its results/.*epochs\.parquet; put it back"):
        load_run(str(folder))


def change(path, **fields):
    record = json.loads(path.read_text())["result"] | fields
    body = json.dumps(record, sort_keys=True)
    path.write_text(json.dumps({"sha256": digest(body.encode()), "result": record}))


def test_of_a_run_folder_only_complete_configurations_are_replayed_and_the_others_are_counted(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=5, folds=3, epochs=4, dropped=2, cases=30))
    table = load_run(str(folder))
    assert table.scores.shape == (3, 3, 4)
    assert table.left_out == 2
    assert (np.diff(table.scores, axis=2) >= 0).all()
    outcome = Simulation(table, race_of("reserve", table), [2, 0, 1], 1).run().outcome()
    assert 0 < outcome.spent <= 1


def test_what_was_dropped_before_its_first_fold_had_ended_is_counted_as_left_out(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=5, folds=3, epochs=4, dropped=2, cases=30))
    dropped = next(r["config"] for r in read_journal(LocalStorage(folder))[0] if r["event"] == "dropped")
    shutil.rmtree(folder / "results" / dropped)
    assert load_run(str(folder)).left_out == 2


def test_a_configuration_with_a_diverged_fold_is_left_out_whatever_it_had_scored_before(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=3, folds=2, epochs=4, cases=30))
    key = sorted(path.name for path in (folder / "results").iterdir())[0]
    rewrite(folder, key, "r0-f1", status="diverged")
    table = load_run(str(folder))
    assert (len(table.scores), table.left_out) == (2, 1)


def test_a_run_has_its_own_score(tmp_path):
    with pytest.raises(SonotuneError, match="which has its score"):
        run_command(str(tmp_path), "--score", "val_iou")


def test_the_command_says_how_many_of_a_run_it_left_out(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=5, folds=3, epochs=4, dropped=2, cases=30))
    text = run_command(str(folder), "--rule", "none", "--slots", "1", "--repeats", "1")
    assert "2 incomplete configurations left out" in " ".join(text.split())


def test_a_run_with_one_complete_configuration_is_refused_as_every_rule_would_pick_it(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=4, folds=2, epochs=4, dropped=3, cases=30))
    with pytest.raises(SonotuneError, match=r"holds 1 complete configuration \(3 left out\)"):
        command([str(folder)], slots="1", repeats=1)


@pytest.mark.parametrize("slots", [1, 4])
def test_what_is_audited_is_paid_for_and_counted(small, slots):
    """With `reserve`, which drops all that is unfinished when the study is decided."""
    plain = Simulation(small, race_of("reserve", small), list(range(24)), slots).run().outcome()
    audited = Simulation(small, race_of("reserve", small, audit=0.5), list(range(24)), slots).run().outcome()
    assert plain.audited == 0
    assert audited.audited == audited.complete - plain.complete > 0
    assert audited.spent > plain.spent
    assert audited.audit_wrong <= audited.audited


def test_of_a_nested_run_the_inner_folds_are_replayed(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=4, folds=3, outer=2, epochs=4, cases=60))
    table = load_run(str(folder))
    assert table.scores.shape[1] == 6
    assert table.left_out == 0


def test_a_fold_that_ended_early_keeps_its_last_score():
    curves = np.array([[[0.1, 0.3, np.nan, np.nan], [0.2, 0.1, 0.4, 0.5]], np.full((2, 4), np.nan)])
    held = _held(curves)
    assert held[0].tolist() == [[0.1, 0.3, 0.3, 0.3], [0.2, 0.1, 0.4, 0.5]]
    assert np.isnan(held[1]).all()


def test_a_configuration_of_a_run_is_replayed_also_where_a_fold_of_it_ended_early(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=1, folds=2, epochs=4, cases=30))
    path = sorted(folder.glob("results/*/*"))[0]
    pq.write_table(pq.read_table(path / "epochs.parquet").slice(0, 2), path / "epochs.parquet")
    rewrite(folder, path.parent.name, path.name)
    table = load_run(str(folder))
    assert (table.scores.shape, table.left_out) == ((1, 2, 4), 0)
    assert table.scores[0, 0, 2:].tolist() == [table.scores[0, 0, 1]] * 2


def test_of_two_stages_the_second_ones_curves_are_replayed(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=2, folds=2, epochs=3, cases=30))
    table = load_run(str(folder))
    for path in folder.glob("results/*/*"):
        rows = pq.read_table(path / "epochs.parquet").to_pylist()
        rows = [row | {"stage": "classify"} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows), path / "epochs.parquet")
        rewrite(folder, path.parent.name, path.name)
    again = load_run(str(folder))
    assert (again.scores == table.scores).all()


def test_what_is_not_known_is_null_for_programs_and_a_missing_folder_is_made(tmp_path):
    folder = make_run(tmp_path / "run", Plan(configs=4, folds=3, epochs=4, cases=60))
    for path in folder.glob("results/*/*/result.json"):
        change(path, test={})
    figure = tmp_path / "new" / "frontier.png"
    text = run_command(
        str(folder), "--rule", "none", "--slots", "1", "--repeats", "1", "--json", "--figure", str(figure)
    )
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert strict[0]["test_regret"] is None
    assert figure.exists()
