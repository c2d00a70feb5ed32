"""A driver outlives its own Ray by a few seconds, and says why it ends."""

import signal
from pathlib import Path

import pytest

from engine.results import RunPaths
from engine.spec.text import dump
from tests.faulty import Process, alive, driver, offspring, send, wait_until
from tests.run_folder import records, summary
from tests.test_driver import document

pytestmark = pytest.mark.faults


def heads(pid: int) -> list[Process]:
    return [one for one in offspring(pid) if name_of(one) in ("raylet", "gcs_server")]


def name_of(process: Process) -> str:
    return Path(f"/proc/{process[0]}/comm").read_text().strip()


def begun(tmp_path: Path) -> tuple[Path, Path]:
    space, folder = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(dump(document(1)))
    return space, folder


@pytest.mark.parametrize("which", ["raylet", "gcs_server"])
def test_a_search_whose_ray_is_killed_says_how_to_go_on(which: str, tmp_path: Path) -> None:
    space, folder = begun(tmp_path)
    process = driver(folder, "search", str(space), "--run", str(folder))
    wait_until(lambda: records(folder, "reported"))
    family, hit = offspring(process.pid), [one for one in heads(process.pid) if name_of(one) == which]
    assert hit
    send(hit, signal.SIGKILL)
    assert process.wait(60) == 1
    told = (tmp_path / "out.log").read_text()
    assert f"(its {which} first); nothing is lost. Go on with: sonotune resume {folder}" in told
    assert not (folder / RunPaths.lock).exists()
    wait_until(lambda: not alive(family), 120)
    assert driver(folder, "resume", str(folder)).wait(600) == 0
    assert summary(folder)["picked"]


def test_a_search_that_is_told_to_go_with_all_of_its_ray_ends_in_time_and_lets_go_of_its_run(
    tmp_path: Path,
) -> None:
    """As a batch system tells every process of a job, half a minute before it kills them."""
    space, folder = begun(tmp_path)
    process = driver(folder, "search", str(space), "--run", str(folder))
    wait_until(lambda: records(folder, "reported"))
    send([(process.pid, None), *offspring(process.pid)], signal.SIGTERM)
    assert process.wait(60) in (1, 130)
    assert "nothing is lost" in (tmp_path / "out.log").read_text()
    assert not (folder / RunPaths.lock).exists()
