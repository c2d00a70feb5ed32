"""Run folders that cannot be begun, gone on with or reported: one message each, and nothing on the disk."""

import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.journal.journal import Journal
from engine.storage import LocalStorage
from tests.refusals import BASE, Refused, as_nobody, space
from tests.runs import Plan, make_run


def test_a_run_folder_that_is_a_file_is_refused(refused: Refused) -> None:
    Path("run").write_text("mine")
    assert "run is a file; a run needs a folder" in refused("search", space(), "--run", "run")


def test_a_single_fold_needs_a_folder_before_it_is_trained(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.alone.load", lambda *_: pytest.fail("the data were read"))
    Path("run").write_text("mine")
    assert "run is a file; a run needs a folder" in refused("train", space(), "--run", "run")
    assert "cannot write" in refused("train", space(), "--run", "run/below")
    for nothing in ("", " "):
        assert f"--run is {nothing!r}; a run needs a folder" in refused("train", space(), "--run", nothing)


def test_a_run_folder_below_a_file_is_refused(refused: Refused) -> None:
    Path("file").write_text("mine")
    assert "cannot write" in refused("search", space(), "--run", "file/run")


def test_a_run_folder_that_holds_a_run_is_refused(refused: Refused) -> None:
    Path("run").mkdir()
    Path("run/study.yaml").write_text("study: other\n")
    assert "holds a run already; go on with `sonotune resume run`" in refused(
        "search", space(), "--run", "run"
    )


def test_an_address_makes_no_folder_of_its_name_here(refused: Refused) -> None:
    assert "what begins with s3:/ is no URI, which has two slashes; write s3://" in refused(
        "search", space(), "--run", "s3:/bucket/run"
    )
    assert "cannot write to s3://bucket/folds.json: this goes to a disk alone" in refused(
        "data", "folds", space(), "--out", "s3://bucket/folds.json"
    )


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that is not ours to write into, where everybody can see it."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    (place / "closed").mkdir(mode=0o555)
    yield place / "closed"
    shutil.rmtree(place)


def test_a_run_folder_without_rights_is_refused(refused: Refused, closed: Path) -> None:
    import engine.driver.launch  # noqa: F401 - nobody may not be able to read the sources

    told = refused("search", space(), "--run", closed / "run", around=as_nobody)
    assert told.startswith(f"error: cannot write {closed}/run/writable: the rights are missing; grant them")
    assert list(closed.iterdir()) == []


@contextmanager
def no_room() -> Iterator[None]:
    """No file may grow beyond zero bytes: what a full disk says, said by the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_folder_without_room_is_refused(refused: Refused) -> None:
    told = refused("search", space(), "--run", "run", around=no_room)
    assert "there is no room left; make room" in told


BEGUN = {"study.yaml": BASE, "journal.jsonl": "", "run.log": ""}

STRANGE: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, "holds no run (it has no study.yaml)"),
    "no study": ({"journal.jsonl": ""}, "holds no run (it has no study.yaml)"),
    "no journal": ({"study.yaml": BASE}, "has a study but no journal: the run was cut off before it began"),
    "empty study": (BEGUN | {"study.yaml": ""}, "study.yaml is empty"),
    "wrong study": (BEGUN | {"study.yaml": "study: x\nfolds: {k: 1}\n"}, "folds.k: got 1"),
    "no folds": (BEGUN, "has lost its folds.json; put it back"),
    "no manifest": (BEGUN | {"folds.json": "{"}, "folds.json is not a fold manifest"),
    "foreign manifest": (
        BEGUN | {"folds.json": '{"schema": 99, "digest": ""}'},
        "folds.json has schema 99, this sonotune reads 1",
    ),
}


def begun(files: dict[str, str]) -> None:
    Path("run").mkdir()
    for name, content in files.items():
        Path("run", name).write_text(content.replace("profiles: {smoke: {train.epochs: 1}}", ""))


@pytest.mark.parametrize("case", STRANGE)
def test_what_is_no_run_cannot_be_resumed(case: str, refused: Refused) -> None:
    files, told = STRANGE[case]
    begun(files)
    assert told in refused("resume", "run")


@pytest.mark.parametrize(
    ("extend", "told"),
    [("configs=0", "search.configs: got 0; should be greater than or equal to 1"),
     ("configs", "must be NAME=VALUE, for instance --extend configs=40"),
     ("configs=true", "search.configs: got True; should be a number, not true or false"),
     ("resources.device=cuda", "resources.device was settled when the run began"),
     ("folds.k=9", "folds.k cannot change within a run; only search.configs, search.budget, resources can"),
     ("config=5", "config cannot change within a run; only search.configs, search.budget, resources can; "
                  "did you mean 'search.configs'?"),
     ("budgets.hours=5", "did you mean 'search.budget'?"),
     ("resource.workers=5", "did you mean 'resources'?")],
)  # fmt: skip
def test_a_change_that_a_run_cannot_make_is_refused(extend: str, told: str, refused: Refused) -> None:
    begun(BEGUN)
    assert told in refused("resume", "run", "--extend", extend)


def test_a_run_cannot_have_fewer_configurations_than_it_has_begun(refused: Refused) -> None:
    begun(BEGUN)
    with Journal(LocalStorage(Path("run"))) as journal:
        journal.append({"event": "study"})
        for name in ("a", "b", "c"):
            journal.append({"event": "opened", "config": name})
    told = refused("resume", "run", "--extend", "configs=2")
    assert "search.configs: 2 is fewer than the 3 configurations that this run has begun" in told


def test_a_single_fold_is_not_trained_into_a_search(refused: Refused) -> None:
    begun(BEGUN)
    assert "run holds a search" in refused("train", space(), "--run", "run")


def test_no_report_of_what_is_no_run(refused: Refused) -> None:
    assert "is not a run folder" in refused("report", "nowhere")


def test_a_summary_of_another_version_is_not_overwritten(refused: Refused) -> None:
    make_run(Path("run"), Plan(configs=2, cases=30, epochs=2))
    Path("run/report").mkdir()
    Path("run/report/summary.json").write_text('{"schema": 99}')
    assert "summary.json has schema 99, this sonotune writes schema 1" in refused("report", "run")


@pytest.mark.parametrize(
    ("words", "told"),
    [(("report", "run", "--format", "papr"),
      "error: --format must be page or paper, got 'papr'; did you mean 'paper'?"),
     (("data", "audit", "--source", "busi", "--root", "a", "--out", "b", "--curate", "keep"),
      "error: --curate must be drop-all or keep-one, got 'keep'; did you mean 'keep-one'?"),
     (("data", "audit", "--source", "busi", "--root", "a", "--out", "b", "--method", "mse"),
      "error: --method must be aligned or ssim, got 'mse'")],
)  # fmt: skip
def test_a_choice_is_told_with_its_names(words: tuple[str, ...], told: str, refused: Refused) -> None:
    assert refused(*words).strip() == told
