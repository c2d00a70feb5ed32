"""Whatever is wrong with a file, what comes out is its content, or one error of ours that says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import folder
from engine.changes import check_document
from engine.conductor import Conductor
from engine.data.arrow import read_pack, write_pack
from engine.data.decode import Broken, read_image, read_mask
from engine.data.groups import read_groups
from engine.data.load import find, load
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal, read_journal
from engine.journal.records import encode, seal
from engine.race.race import Race
from engine.results import FoldResult, digest, read_result, read_table, write_result
from engine.sampler.sampler import Sampler
from engine.spec import text
from engine.spec.data import Data
from engine.spec.load import load as load_study
from engine.spec.load import study_of
from engine.storage import LocalStorage
from engine.task import Task
from tests.trained import finished_run

EXAMPLES = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
FEWER = settings(EXAMPLES, max_examples=20)
STUDY: dict[str, Any] = {
    "study": "fuzz",
    "data": {"source": "phantom", "count": 24, "size": 16},
    "folds": {"k": 2},
    "model": {"name": "unet_mtl", "width": 2, "depth": 1},
    "train": {"epochs": 1, "batch": 8},
    "search": {"sampler": "random", "configs": 1},
    "race": {"rule": "none"},
}
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-3, 10**6), st.floats(), st.text(max_size=6),
                 st.sampled_from(["../../outside", [], {}, [None], {"x": [1]}]))  # fmt: skip


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One to three cuts, flips, insertions or repetitions, anywhere."""
    edit = st.tuples(st.sampled_from("fdirt"), st.floats(0, 1), st.binary(min_size=1, max_size=9))
    edits = draw(st.lists(edit, min_size=1, max_size=3))

    def damaged(data: bytes) -> bytes:
        for kind, where, some in edits:
            at = int(where * len(data))
            if kind == "f" and at < len(data):
                data = data[:at] + bytes([data[at] ^ (some[0] or 1)]) + data[at + 1 :]
            elif kind == "d":
                data = data[:at] + data[at + len(some) :]
            elif kind == "i":
                data = data[:at] + some + data[at:]
            elif kind == "r":
                data = data[:at] + data[at // 2 :]
            else:
                data = data[:at]
        return data

    return damaged


@st.composite
def forgery(draw: st.DrawFn) -> Callable[[Any], Any]:
    """One value anywhere in plain data, replaced or taken away: checksums do not help against that."""
    steps = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
    junk, gone = draw(JUNK), draw(st.booleans())

    def forged(value: Any) -> Any:
        value = json.loads(json.dumps(value))
        node = value
        for number, step in enumerate(steps):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = keys[step % len(keys)]
            if number == len(steps) - 1 or not isinstance(node[key], dict | list):
                if gone:
                    del node[key]
                else:
                    node[key] = junk
                break
            node = node[key]
        return value

    return forged


def survives(action: Callable[[], Any], *allowed: type[Exception]) -> bool:
    """Its content, or an error of ours that says something; whatever else it raises comes through."""
    try:
        action()
    except SonotuneError as error:
        return bool(str(error).strip())
    except allowed:
        return True
    return True


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("run"), STUDY)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(run, tmp_path / "copy", dirs_exist_ok=True))


# -- a run's files ---------------------------------------------------------------------------------


def records() -> list[dict[str, Any]]:
    """What a small search journals."""
    spec = study_of(STUDY, "test")
    key = spec.configuration({}).config_id
    task, score = {"key": key, "fold": "r0-f0"}, {"score": 0.5, "values": [0.5]}
    return [
        {"event": "study", "fingerprint": "f", "folds": "d", "numerics": {}, "study": "s", "schema": 1},
        {"event": "asked", "number": 0, "params": {}},
        {"event": "opened", "config": key, "epochs": 1, "cost": 0.0, "prerequisite": None, "wanted": False},
        {"event": "started", "task": task},
        {"event": "reported", "task": task, "epoch": 1, **score, "stage": "main"},
        {"event": "ended", "task": task, "status": "complete", **score},
        {"event": "resumed"},
    ]  # fmt: skip


def journal_bytes(found: list[Any]) -> bytes:
    found = [record for record in found if isinstance(record, dict) and not {"n", "commit"} & set(record)]
    return b"".join(seal([encode(number, record)]) for number, record in enumerate(found, 1))


@EXAMPLES
@given(damage())
def test_a_damaged_journal(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    (tmp_path / "journal.jsonl").write_bytes(change(journal_bytes(records())))
    assert survives(lambda: read_journal(LocalStorage(tmp_path)))
    assert survives(lambda: Journal(LocalStorage(tmp_path)).close())


@EXAMPLES
@given(forgery())
def test_a_forged_journal(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    spec = study_of(STUDY, "test")
    (tmp_path / "journal.jsonl").write_bytes(journal_bytes(change(records())))

    def resume() -> None:
        with Journal(LocalStorage(tmp_path)) as journal:
            folder.head_of(journal, LocalStorage(tmp_path))
            check_document(LocalStorage(tmp_path), journal)

    def replay() -> None:
        found, _ = read_journal(LocalStorage(tmp_path))
        sampler = Sampler(spec.fixed.search, spec.space, 0)
        race = Race(spec.fixed.race, ("r0-f0", "r0-f1"), 1, 0)
        Conductor(spec, sampler, race, Journal(LocalStorage(tmp_path / "new"))).replay(found)

    (tmp_path / "study.yaml").write_text(text.dump(STUDY))
    assert survives(resume)
    assert survives(replay)


def result_envelope(record: Any) -> bytes:
    body = json.dumps(record, sort_keys=True, allow_nan=True)
    return json.dumps({"sha256": digest(body.encode()), "result": record}).encode()


@EXAMPLES
@given(damage(), forgery())
def test_a_damaged_or_forged_result(
    tmp_path: Path, change: Callable[[bytes], bytes], forge: Callable[[Any], Any]
) -> None:
    task, storage = Task("abc", "r0-f0"), LocalStorage(tmp_path)
    write_result(storage, task, FoldResult("abc", "r0-f0", "complete", {}, ("a", "b"), "x"), {"one": b"1"})
    path = tmp_path / "results/abc/r0-f0/result.json"
    whole = path.read_bytes()
    for data in (change(whole), result_envelope(forge(json.loads(whole)["result"]))):
        path.write_bytes(data)
        assert survives(lambda: read_result(storage, task))


FILES = ("study.yaml", "folds.json", "provenance.json", "journal.jsonl", "report/summary.json",
         "results/*/r0-f0/result.json", "results/*/r0-f0/epochs.parquet",
         "results/*/r0-f0/cases_validation.parquet", "checkpoints/*/r0-f0/best.pt")  # fmt: skip


@FEWER
@given(st.sampled_from(FILES), damage())
def test_a_run_folder_with_a_damaged_file_is_loaded_for_a_report(
    run: Path, copy: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    from reports.aggregate import figures
    from reports.load import load

    with damaged(run, copy, name, change):
        assert survives(lambda: figures(load(str(copy))))


@FEWER
@given(st.sampled_from(FILES), damage())
def test_a_run_folder_with_a_damaged_file_is_predicted_with(
    run: Path, copy: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    from engine.predict.ensemble import load_picked

    with damaged(run, copy, name, change):
        assert survives(lambda: load_picked(str(copy), "cpu"))


class damaged:
    """One file of the copy for as long as the block lasts."""

    def __init__(self, run: Path, copy: Path, name: str, change: Callable[[bytes], bytes]) -> None:
        self.whole = next(run.glob(name))
        self.path = copy / self.whole.relative_to(run)
        self.change = change

    def __enter__(self) -> None:
        self.path.write_bytes(self.change(self.whole.read_bytes()))

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.whole.read_bytes())


@FEWER
@given(st.sampled_from(("folds.json", "provenance.json", "report/summary.json")), forgery())
def test_a_run_folder_with_a_forged_file_is_loaded_and_predicted_with(
    run: Path, copy: Path, name: str, change: Callable[[Any], Any]
) -> None:
    from engine.predict.ensemble import load_picked
    from reports.aggregate import figures
    from reports.load import load

    with damaged(run, copy, name, lambda data: json.dumps(change(json.loads(data))).encode()):
        assert survives(lambda: figures(load(str(copy))))
        assert survives(lambda: load_picked(str(copy), "cpu"))


@pytest.mark.parametrize("name", ["study.yaml", "folds.json", "provenance.json", "journal.jsonl",
                                  "results/*/r0-f0/gallery/index.json"])  # fmt: skip
def test_a_report_is_written_beside_a_broken_file(copy: Path, name: str) -> None:
    from reports.write import write

    path = next(copy.glob(name))
    path.write_bytes(path.read_bytes()[:-20] + b"\xff" * 20)
    assert survives(lambda: write(str(copy)))


# -- folds, studies, tables, images ----------------------------------------------------------------


@EXAMPLES
@given(damage(), forgery())
def test_damaged_and_forged_folds(
    run: Path, change: Callable[[bytes], bytes], forge: Callable[[Any], Any]
) -> None:
    whole = (run / "folds.json").read_bytes()
    assert survives(lambda: Manifest.from_json(change(whole).decode("utf-8", "replace")))
    record = forge(json.loads(whole))
    assert survives(lambda: Manifest.from_json(json.dumps(record)))


@EXAMPLES
@given(damage(), forgery())
def test_a_damaged_and_a_forged_study(
    tmp_path: Path, change: Callable[[bytes], bytes], forge: Callable[[Any], Any]
) -> None:
    space = Path(__file__).parents[1] / "searchspaces/two_stage.yaml"
    path = tmp_path / "study.yaml"
    path.write_bytes(change(space.read_bytes()))
    assert survives(lambda: load_study(path))
    assert survives(lambda: load_study(path, "smoke"))
    assert survives(lambda: study_of(forge(text.read_mapping(space)), "forged"))


@FEWER
@given(damage())
def test_a_damaged_pack_counts_as_none(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    pack = load(Data(count=6, size=16), tmp_path / "cache")
    path = tmp_path / f"{pack.fingerprint}.arrow"
    write_pack(path, pack)
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    found = read_pack(path)
    assert found is None or np.array_equal(found.images, pack.images)


@EXAMPLES
@given(damage())
def test_damaged_tables(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pack = load(Data(count=6, size=16), tmp_path / "cache")
    rows = {"image": ["a.png", "b.png"], "mask": ["a_m.png", ""], "label": ["benign", "normal"]}
    lines = [",".join(rows), *(",".join(line) for line in zip(*rows.values(), strict=True))]
    (tmp_path / "cases.csv").write_bytes(change("\n".join(lines).encode()))
    pq.write_table(pa.table(rows), tmp_path / "cases.parquet")
    (tmp_path / "cases.parquet").write_bytes(change((tmp_path / "cases.parquet").read_bytes()))
    for name in ("cases.csv", "cases.parquet"):
        assert survives(lambda name=name: find(Data(source="manifest", root=str(tmp_path / name))))
    (tmp_path / "groups.csv").write_bytes(change(b"case,group\nphantom-00001,a\nphantom-00002,a\n"))
    assert survives(lambda: read_groups(tmp_path / "groups.csv", pack))
    (tmp_path / "folds.csv").write_bytes(change(b"case,fold\nphantom-00001,0\nphantom-00002,1\n"))
    imported = study_of({"study": "x", "folds": {"from": str(tmp_path / "folds.csv")}}, "test").fixed.folds
    assert survives(lambda: make_folds(pack, imported))


@EXAMPLES
@given(st.sampled_from(["PNG", "JPEG", "BMP", "TIFF"]), damage())
def test_damaged_images(tmp_path: Path, kind: str, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "image"
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(path, kind)
    path.write_bytes(change(path.read_bytes()))
    assert survives(lambda: read_image(path), Broken)
    assert survives(lambda: read_mask(path), Broken)


@EXAMPLES
@given(damage())
def test_a_damaged_case_table_of_a_result(
    run: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    whole = next(run.glob("results/*/r0-f0/epochs.parquet")).read_bytes()
    (tmp_path / "epochs.parquet").write_bytes(change(whole))
    assert survives(lambda: read_table(LocalStorage(tmp_path), "epochs.parquet"))
