"""`sonotune report` as it is called: one run, several, watching, paper tables, mistakes."""

import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from engine.errors import SonotuneError
from engine.results import RunPaths
from reports import command, pictures
from reports.load import load
from reports.watch import watch
from tests.refusals import as_nobody, snapshot
from tests.runs import Plan, make_run

SMALL = Plan(configs=3, folds=2, cases=60, epochs=2, select={"bootstraps": 100})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("runs")
    return [str(make_run(place / name, SMALL)) for name in ("a", "b")]


def listening() -> tuple[Console, io.StringIO]:
    heard = io.StringIO()
    return Console(file=heard, width=100), heard


def test_one_run_is_shown_and_written(runs: list[str]) -> None:
    out, heard = listening()
    page = command.page(runs[:1], "first", None, out)
    assert Path(page) == Path(runs[0]) / "report/index.html"
    pick = json.loads((Path(page).parent / "summary.json").read_text())["picked"]["config_id"]
    assert pick in heard.getvalue()
    assert "bias-corrected" in heard.getvalue()


def test_the_report_of_a_run_that_may_only_be_read_is_written_elsewhere(tmp_path: Path) -> None:
    """`predict` reads the pick in the run's folder, where there is none."""
    with tempfile.TemporaryDirectory() as place:
        run, out = make_run(Path(place) / "run", SMALL), Path(place) / "out"
        out.mkdir()
        Path(place).chmod(0o755)
        out.chmod(0o777)
        before = snapshot(run)
        with as_nobody():
            with pytest.raises(SonotuneError, match=r"the rights are missing.*elsewhere with --out FOLDER"):
                command.page([str(run)], None, None, listening()[0])
            page = Path(command.page([str(run)], None, str(out), listening()[0]))
        assert page == out / "report/index.html"
        assert f"lie in {run}/results/" in page.read_text()
        assert "sonotune predict" not in page.read_text()
        assert snapshot(run) == before


def test_two_runs_get_one_report(runs: list[str], tmp_path: Path) -> None:
    """Both trained three configurations to the same results, and one has two more."""
    other = make_run(tmp_path / "more", replace(SMALL, configs=2, name="more"))
    out, _ = listening()
    page = command.page([*runs, str(other)], None, str(tmp_path / "both"), out)
    summary = json.loads((Path(page).parent / "summary.json").read_text())
    assert summary["counts"]["complete"] == 3 + 2
    assert len({config["config_id"] for config in summary["configs"]}) == 5
    board = (Path(page).parent / "tables/leaderboard.csv").read_text()
    assert f"{runs[0]}, {runs[1]}" in board


def test_the_report_of_two_runs_in_a_bucket_lies_below_the_first() -> None:
    uris = ["memory://first?key=SECRET", "memory://second?key=SECRET"]
    for uri in uris:
        make_run(uri, SMALL)
    run = command.gathered(uris, None)
    assert run.storage.location == "memory://first/report/side-by-side?key=SECRET"


def test_a_paper_table_has_the_printed_figures_and_ours(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL)
    heard = io.StringIO()
    command.paper([str(folder)], "acsnet.5, refining.8, mtl_oca.3", Console(file=heard, width=60))
    for printed in ("84.90 ± 1.69", "0.754 ± 0.035", "Not comparable (this run's data is phantom)"):
        assert printed in heard.getvalue()
    assert "…" not in heard.getvalue()  # however narrow the terminal


def test_watching_writes_until_the_run_ends(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SMALL, dropped=SMALL.configs))  # a page with little to draw
    (folder / RunPaths.lock).write_text("{}")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        assert 'http-equiv="refresh"' in (folder / "report/index.html").read_text()
        (folder / RunPaths.lock).unlink()

    out, heard = listening()
    page = watch(str(folder), out, seconds=0.01, sleep=sleep)
    assert waited == [0.01]
    assert 'http-equiv="refresh"' not in Path(page).read_text()
    assert heard.getvalue().count("wrote") == 2


@pytest.mark.parametrize(
    ("which", "baseline", "out", "message"),
    [([0], "nobody", None, "0 configurations named 'nobody'"),
     ([0, 0], None, None, "with itself")],
)  # fmt: skip
def test_a_mistake_is_one_clear_message(
    runs: list[str], which: list[int], baseline: str | None, out: str | None, message: str
) -> None:
    with pytest.raises(SonotuneError, match=message):
        command.page([runs[n] for n in which], baseline, out, listening()[0])


def test_watching_two_runs_is_refused(runs: list[str]) -> None:
    with pytest.raises(SonotuneError, match="--watch follows one run, got 2"):
        command.watched(runs, None, listening()[0])


def test_a_gallery_reads_only_pictures_of_its_own_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", SMALL)
    run = load(str(folder))
    config = run.complete[0]
    gallery = folder / f"results/{config.id}/r0-f0/gallery"
    gallery.mkdir()
    (gallery / "0-image.png").write_bytes(b"\x89PNG")
    (folder / "secret.png").write_bytes(b"secret")
    files = {"image": "0-image.png", "truth": "../../../../secret.png", "prediction": "no.png"}
    entry = {"case": "<b>1</b>", "rank": "worst", "label": "benign", "dice": 0.5, "files": files}
    (gallery / "index.json").write_text(json.dumps([entry, "nonsense", {"files": None}]))
    shown = pictures.gallery(run, config)
    assert shown is not None
    assert [[name for name, _ in tile.pictures] for tile in shown.tiles] == [["image"]]
