"""`sonotune data pack` and `folds`, as a user types them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli.data import app
from engine.errors import SonotuneError
from engine.folds.manifest import Manifest
from tests import layouts
from tests.layouts import some_pictures


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    return layouts.write_busi(tmp_path / "data", some_pictures(6))


def test_pack_says_what_it_packed(busi: Path, tmp_path: Path) -> None:
    told = run("pack", "--source", "busi", "--root", busi, "--cache", tmp_path / "c", "--set", "data.size=32")
    assert "18 cases at 32×32: 6 benign, 6 malignant, 6 normal" in told
    again = run(
        "pack", "--source", "busi", "--root", busi, "--cache", tmp_path / "c", "--set", "data.size=32"
    )
    assert told.split(",")[:3] == again.split(",")[:3]


def test_pack_leaves_broken_cases_out_on_request(busi: Path, tmp_path: Path) -> None:
    (busi / "benign" / "benign (1).png").write_bytes(b"")
    arguments = ("pack", "--source", "busi", "--root", busi, "--cache", tmp_path / "c")
    with pytest.raises(SonotuneError, match="zero bytes"):
        run(*arguments)
    assert "left out: benign/benign (1).png" in run(*arguments, "--skip-broken")


def test_pack_takes_a_space_or_a_source(busi: Path, tmp_path: Path) -> None:
    space = write_space(tmp_path, busi)
    assert "18 cases" in run("pack", space, "--cache", tmp_path / "c")
    for both in (("--source", "busi", "--root", busi), ("--root", busi)):
        with pytest.raises(SonotuneError, match="not both"):
            run("pack", space, *both)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--source", "busy", "--root", "."), "data.source"),
        (("--source", "busi"), "needs root"),
        (("--source", "busi", "--root", ".", "--set", "data.size=4"), "data.size"),
        (("--source", "busi", "--root", ".", "--set", "data.sise=64"), "did you mean 'size'"),
        (("--source", "busi", "--root", ".", "--set", "data.classes=[benign, benign]"), "differ"),
        (("--source", "busi", "--root", ".", "--set", "data.classes=[benign, a/b]"), "data.classes"),
        (("--source", "busi", "--root", ".", "--set", "data.keep=curated"), "needs ids"),
        (("--source", "busi", "--root", ".", "--set", "size=64"), "only data can be set"),
        (("--source", "busi", "--root", ".", "--profile", "smoke"), "give the space"),
    ],
)
def test_a_mistyped_option_is_told_with_its_rule(wrong: tuple[str, ...], said: str) -> None:
    with pytest.raises(SonotuneError, match=said):
        run("pack", *wrong)


def test_folds_are_written_for_another_study(
    busi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "c"))
    told = run("folds", write_space(tmp_path, busi), "--out", tmp_path / "f" / "folds.json")
    manifest = Manifest.from_json((tmp_path / "f" / "folds.json").read_text())
    assert len(manifest.folds) == 3
    assert "r0-f2" in told


def test_the_outer_folds_of_a_nested_design_are_shown_too(
    busi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "c"))
    nested = ("--set", "folds.outer=2", "--out", tmp_path / "folds.json")
    assert "│ o1 " in run("folds", write_space(tmp_path, busi), *nested)


def test_an_audit_whose_reader_went_away_has_written_all_of_its_files(busi: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from engine.cli import main; main()", "data", "audit", "--source", "busi",
             "--root", str(busi), "--out", str(tmp_path / "a"), "--write-groups",
             "--curate", "keep-one"]  # fmt: skip
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        subprocess.run(words, stdout=gone, stderr=subprocess.DEVNULL, timeout=120)
    names = ["audit.html", "audit.parquet", "curated.csv", "groups.csv", "left_out.csv"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


def write_space(folder: Path, root: Path) -> Path:
    path = folder / "space.yaml"
    path.write_text(
        f"study: small\ndata: {{source: busi, root: {root}, size: 32}}\nfolds: {{k: 3}}\n"
        "train: {lr: {loguniform: [0.0001, 0.01]}}\n"
    )
    return path
