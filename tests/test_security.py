"""A run folder, an archive or a manifest of somebody else can neither run code nor reach outside its folder,
and what is ours to keep stays ours."""

import ast
import io
import json
import logging
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from engine import results
from engine.data import tables
from engine.driver.launch import RunLog
from engine.errors import SonotuneError, StorageError
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal
from engine.lock.lock import FileLock
from engine.models.weights import load_weights
from engine.past import adopt
from engine.provenance import command_line
from engine.results import FoldResult, RunPaths, digest, read_result, write_result
from engine.sampler.mirror import _Appended
from engine.spec import text
from engine.storage import LocalStorage, ObjectStorage, open_storage
from engine.task import Task
from engine.training import checkpoint
from tests.trained import finished_run

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "engine").rglob("*.py"), *(ROOT / "reports").rglob("*.py")])
SECRET = "never-to-be-seen-4711"
STUDY: dict[str, Any] = {
    "study": "safe",
    "data": {"source": "phantom", "count": 24, "size": 16},
    "folds": {"k": 2},
    "model": {"name": "unet_mtl", "width": 2, "depth": 1},
    "train": {"epochs": 1, "batch": 8},
}


# -- no code from files ----------------------------------------------------------------------------


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(node.func), node) for node in found]


def test_nothing_reads_pickles_and_torch_reads_plain_tensors_alone() -> None:
    readers = ("pickle.load", "pickle.loads", "joblib.load", "shelve.open", "eval", "exec", "os.system",
               "torch.jit.load", "yaml.unsafe_load", "yaml.full_load")  # fmt: skip
    for path in SOURCES:
        for name, call in calls(path):
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert name not in readers, path
            assert name != "torch.load" or options.get("weights_only") == "True", path
            assert name != "np.load" or options.get("allow_pickle") == "False", path
            assert name != "yaml.load" or options.get("Loader") == "_Loader", path
            assert options.get("shell") != "True", path


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    storage, mark = LocalStorage(tmp_path), tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save({"model": Bomb(mark)}, buffer)
    data = buffer.getvalue()
    storage.write("checkpoints/a/r0-f0/last.pt", digest(data).encode() + data)
    assert checkpoint.load(storage, "checkpoints/a/r0-f0/last.pt", "cpu") is None
    (tmp_path / "weights.pt").write_bytes(data)
    with pytest.raises(SonotuneError, match="is not a plain state_dict"):
        load_weights(torch.nn.Linear(1, 1), str(tmp_path / "weights.pt"), "resnet18")
    assert not mark.exists()


@pytest.mark.parametrize("bad", ["!!python/object/apply:os.mkdir [ran]", "!!python/name:os.system", "!foo x"])
def test_yaml_makes_plain_data_alone(bad: str) -> None:
    with pytest.raises(SonotuneError):
        text.parse(f"study: {bad}", "test")


def test_yaml_is_bounded_in_size_and_in_what_it_unfolds_to() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(9 * [f'*{before}'])}]\n"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    for huge, told in ((bomb, "unfolds to more"), ("a: " + "x" * text.MAX_BYTES, "has at most"),
                       ("[" * 100_000, "not readable")):  # fmt: skip
        with pytest.raises(SonotuneError, match=told):
            text.parse(huge, "test")


# -- no way out of the folder ----------------------------------------------------------------------

OUTSIDE = ("../out", "/etc/hostname", "results/../../out", "a/..", "a\0b")


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out_of_a_storage(tmp_path: Path, path: str) -> None:
    (tmp_path / "out").write_text("mine")
    inside = tmp_path / "run"
    inside.mkdir()
    memory: ObjectStorage = open_storage("memory://bucket/run")  # type: ignore[assignment]
    for storage in (LocalStorage(inside), memory):
        for action in (storage.read, storage.exists, storage.list, storage.delete,
                       lambda path, s=storage: s.write(path, b"x")):  # fmt: skip
            with pytest.raises(SonotuneError, match="leads out of its folder"):
                action(path)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_reused_result_cannot_write_outside_the_run(tmp_path: Path) -> None:
    theirs, mine = (LocalStorage(tmp_path / name) for name in ("theirs", "mine"))
    task = Task("a", "r0-f0")
    write_result(theirs, task, FoldResult("a", "r0-f0", "complete", {}, ("x", "y"), "address"), {})
    path = f"{RunPaths.result(task)}/result.json"
    record = json.loads(theirs.read(path))["result"] | {"files": {"../../../../evil": digest(b"evil")}}
    body = json.dumps(record, sort_keys=True)
    theirs.write(path, json.dumps({"sha256": digest(body.encode()), "result": record}).encode())
    (tmp_path / "evil").write_bytes(b"evil")
    with pytest.raises(SonotuneError, match="leads out of its folder"):
        adopt(mine, [theirs], task, "address")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["lock", "journal.jsonl", "optuna.log", "optuna.log.new", "run.log"])
def test_a_link_in_a_run_folder_of_others_leads_to_none_of_our_files(name: str, tmp_path: Path) -> None:
    """Whoever goes on with a run writes these where they are; an archive keeps links."""
    ours, run = tmp_path / "ours", tmp_path / "run"
    run.mkdir()
    ours.write_text("one line")
    (run / name).symlink_to("../ours")
    log = RunLog(run / "run.log", delay=True)
    log.handle(logging.makeLogRecord({"msg": "resumed"}))
    log.close()
    with suppress(StorageError), FileLock(run / "lock"), Journal(LocalStorage(run)) as journal:
        journal.append({"event": "study"})
    with suppress(StorageError):
        if name == "optuna.log.new":
            (run / "optuna.log").write_bytes(b"of somebody else\n")
        _Appended(str(run / "optuna.log")).add(b"{}\n")
    assert ours.read_text() == "one line"


def test_a_result_of_another_task_is_refused(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    write_result(storage, Task("a", "r0-f0"), FoldResult("b", "r0-f0", "complete", {}, (), "x"), {})
    with pytest.raises(SonotuneError, match="lies in a wrong folder"):
        read_result(storage, Task("a", "r0-f0"))


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/b", "", ".hidden"])
def test_a_fold_of_somebody_elses_manifest_names_no_folder_outside(name: str) -> None:
    fold = {
        "name": name,
        "train": ["a"],
        "validation": ["b"],
        "test": ["c"],
        "repeat": 0,
        "fold": 0,
        "outer": None,
    }
    record = {"schema": 1, "digest": "", "folds": [fold], "classes": ["x"], "seed": 0, "finals": [],
              "notes": [], "warnings": []}  # fmt: skip
    with pytest.raises(SonotuneError, match="a fold is named"):
        Manifest.from_json(json.dumps(record))


# -- nothing told, nobody let in -------------------------------------------------------------------


def test_secrets_of_the_environment_enter_no_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports.write import write

    for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    run = finished_run(tmp_path, STUDY)
    write(str(run))
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_credentials_in_an_address_are_left_out_of_the_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "sonotune",
        "search",
        "space.yaml",
        "--run",
        f"s3://user:{SECRET}@bucket/run?secret_key={SECRET}",
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line() == "sonotune search space.yaml --run s3://bucket/run"


@pytest.mark.faults
def test_nothing_listens_beyond_this_machine() -> None:
    """A Ray of our own, and every process that it starts."""
    code = """
        import ray
        import psutil  # Ray brings it along
        from engine.driver.cluster import connected

        with connected(None, 1):
            ray.get(ray.remote(lambda: 1).remote())
            mine = psutil.Process()
            for process in (mine, *mine.children(recursive=True)):
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        print(one.laddr.ip.removeprefix("::ffff:"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          cwd=ROOT, check=True, timeout=120)  # fmt: skip
    assert set(done.stdout.split()) == {"127.0.0.1"}


def test_a_small_table_that_unpacks_to_a_huge_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty million times the same number, in kilobytes; and the same as a table of a data set."""
    pq.write_table(pa.table({"score": np.zeros(20_000_000)}), tmp_path / "big.parquet", compression="zstd")
    assert (tmp_path / "big.parquet").stat().st_size < 200_000
    monkeypatch.setattr(results.measured, "__defaults__", (100 * 2**20,))
    with pytest.raises(SonotuneError, match=r"160,000,000 bytes unpacked; at most 104,857,600 are read"):
        results.read_table(LocalStorage(tmp_path), "big.parquet")
    monkeypatch.setattr(tables, "LARGEST", 100 * 2**20)
    with pytest.raises(SonotuneError, match=r"big.parquet' has 160,000,000 bytes unpacked"):
        tables.read_table(tmp_path / "big.parquet")
