"""The command line as a user meets it: help, lists, and one configuration on one fold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import __version__
from engine.cli.app import app
from engine.errors import SonotuneError
from engine.models.registry import MODELS
from engine.results import RunPaths, read_result, read_table
from engine.spec.schema import study_schema
from engine.storage import LocalStorage
from engine.task import Task
from tests.runs import Plan, make_run

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "searchspaces" / "quickstart.yaml"
COMMANDS = ("search", "resume", "report", "check", "doctor", "train", "models", "spaces", "schema", "data")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "search.sampler=grid"), "sampler grid needs dimensions that can be listed"),
        (("--reuse", "runs/mistyped"), "runs/mistyped holds no run"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_there_is_a_run(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SonotuneError, match=told):
        run("search", QUICKSTART, "--run", tmp_path / "run", *words)
    assert not (tmp_path / "run" / RunPaths.journal).exists()


def test_help_lists_every_command() -> None:
    told = run("--help")
    for command in COMMANDS:
        assert command in told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage:" in run(command, "--help")


def test_the_version_is_printed() -> None:
    assert run("--version").strip() == f"sonotune {__version__}"


def test_models_are_listed_for_programs_and_for_people() -> None:
    rows = json.loads(run("models", "--json"))
    assert [row["name"] for row in rows] == list(MODELS)
    assert all(row["about"] and row["system"] for row in rows)
    assert "unet_mtl" in run("models")


def test_spaces_are_listed_with_their_profiles() -> None:
    told = run("spaces")
    for path in (ROOT / "searchspaces").glob("*.yaml"):
        assert path.name in told
    assert "smoke" in told


def test_the_schema_is_printed() -> None:
    assert json.loads(run("schema")) == json.loads(json.dumps(study_schema()))


def test_train_leaves_the_result_of_one_fold(tmp_path: Path) -> None:
    told = run("train", QUICKSTART, "--profile", "smoke", "--run", tmp_path / "run", "--fold", "r0-f1")
    assert "epoch   2" in told
    storage = LocalStorage(tmp_path / "run")
    (key,) = storage.list("results")
    task = Task(key, "r0-f1")
    result = read_result(storage, task)
    assert result is not None
    assert (result.status, result.epochs) == ("complete", 2)
    epochs = read_table(storage, f"results/{task.folder}/epochs.parquet")
    assert epochs["epoch"].to_pylist() == [1, 2]
    assert storage.list("") == ["checkpoints", "results"]


def test_where_a_fold_was_trained_is_told_without_the_keys_of_its_address(tmp_path: Path) -> None:
    told = run("train", QUICKSTART, "--profile", "smoke", "--run", "memory://fold?secret_key=SECRET")
    assert "results: memory://fold/results" in told


def test_a_mistake_ends_the_process_with_2_and_no_traceback(tmp_path: Path) -> None:
    """The whole way, as the shell starts it."""
    words = [sys.executable, "-c", "from engine.cli import main; main()", "train", str(QUICKSTART),
             "--run", str(tmp_path / "run"), "--set", "loss.lambda=2"]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "loss.lambda: got 2; should be less than or equal to 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_without_room_is_one_message(unbuffered: str) -> None:
    words = [sys.executable, "-c", "from engine.cli import main; main()", "schema"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: what is printed finds no room: No space left on device;")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_while_the_commands_are_loaded_ends_quietly() -> None:
    code = """
import os, signal, sys
class Finder:
    def find_spec(name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever whoever runs the tests ignores
from engine.cli import main
main()
"""
    words = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_unknown_fold_is_refused(tmp_path: Path) -> None:
    words = ["train", str(QUICKSTART), "--profile", "smoke", "--run", str(tmp_path), "--fold", "r9-f9"]
    done = CliRunner().invoke(app, words)
    assert "there is no fold r9-f9; the folds are r0-f0, r0-f1" in str(done.exception)


def test_a_folder_named_like_markup_is_named_as_it_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "y[/b]", Plan(configs=2, folds=2, cases=40, epochs=2))
    assert f"report: {folder}/report/index.html" in run("report", folder)
