"""The doctor says what is wrong and how it is mended, and never fails itself."""

import shutil
import socket
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray._private import services
from typer.testing import CliRunner

from engine import doctor
from engine.cli.app import app
from engine.doctor import GIB, Finding
from engine.driver.cluster import check_address
from engine.driver.examine import clock, examine_cluster
from engine.errors import SonotuneError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "cache"))


def test_a_fit_machine_passes_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--run", "runs"], catch_exceptions=False)
    assert done.exit_code == 0
    for word in ("packages", "GPU", "memory", "/dev/shm", "runs can be written", "a fold", "images/s"):
        assert word in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_red_finding_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["doctor", "--run", str(tmp_path / "file" / "run")])
    assert done.exit_code == 1
    assert "choose another --run" in done.output


def test_a_package_below_its_bound_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["numpy>=99", "no-such-thing", "mlflow; extra == 'x'"]
    )
    found = doctor.packages()
    assert found.level == "red"
    assert "numpy" in found.found
    assert "no-such-thing is missing" in found.found
    assert "mlflow" not in found.found


def test_gpus_that_ray_was_told_of_and_torch_does_not_see_are_red() -> None:
    there = torch.cuda.device_count()
    found = doctor.gpus(there + 2.0)
    assert found.level == "red"
    assert f"Ray was told of {there + 2}, torch {torch.__version__} sees {there}" in found.found
    assert f"--num-gpus={there}" in found.fix
    assert doctor.gpus(there).level != "red"


@pytest.mark.parametrize(("free", "level"), [(1, "red"), (3, "yellow"), (8, "green")])
def test_little_memory_is_told(free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_meminfo", lambda name: free * GIB)
    found = doctor.memory()
    assert found.level == level
    assert ("resources.workers" in found.fix) == (level != "green")


def test_docker_s_small_shared_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=GIB // 16))
    monkeypatch.setattr(doctor, "_meminfo", lambda name: 20 * GIB)
    assert doctor.shared_memory() == Finding(
        "/dev/shm", "yellow", "0.06 GiB, Ray would use 6.0 GiB", "in Docker: --shm-size=6g"
    )


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise RuntimeError("the driver is gone")

    assert doctor._safely("GPU", broken).found == "RuntimeError: the driver is gone"


@pytest.mark.parametrize(
    ("told", "level", "said"),
    [
        (100.5, "green", "within 1.0 s"),
        (103.0, "green", "within 2.0 s"),
        (98.5, "green", "within 1.5 s"),
        (111.0, "yellow", "10 s off"),
        (40.0, "yellow", "60 s off"),
        (700.0, "red", "599 s off"),
    ],
)
def test_a_clock_is_compared_within_what_question_and_answer_allow(
    told: float, level: str, said: str
) -> None:
    found = clock(100.0, told, 101.0)
    assert (found.level, said in found.found) == (level, True)


@pytest.mark.parametrize(
    ("node", "level"),
    [({}, "green"), ({"optuna": "4.5"}, "yellow"), ({"torch": "2.6"}, "red"), ({"ray": "missing"}, "red")],
)
def test_other_versions_than_the_driver_s_are_told(node: dict[str, str], level: str) -> None:
    driver = {"Python": "3.11.7", "torch": "2.13", "ray": "2.60", "optuna": "5.0"}
    found = doctor.agreement(driver, driver | node)
    assert found.level == level
    assert all(f"{name} {version}" in found.found for name, version in node.items())


def test_a_folder_that_is_not_the_driver_s_is_red(tmp_path: Path) -> None:
    """A local path exists on every node, but need not be the same disk."""
    (tmp_path / "mark").write_text("")
    assert doctor.storage(str(tmp_path), "mark").level == "green"
    found = doctor.storage(str(tmp_path), "of-another-disk")
    assert found.level == "red"
    assert "not the driver's" in found.found


def test_a_cluster_where_nothing_answers_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SonotuneError, match="nothing answers at --address"):
        next(iter(examine_cluster("127.0.0.1:9", str(tmp_path))))


def test_a_head_that_listens_to_loopback_alone_is_not_waited_for() -> None:
    """Ray goes to this machine's other address, for minutes, where there is one."""
    if services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1":
        pytest.skip("this machine has no address but loopback")
    with socket.create_server(("127.0.0.1", 0)) as head:
        place = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(SonotuneError, match=f"nothing answers at --address {place}, which is "):
            check_address(place)


def test_auto_is_refused_at_once_where_the_head_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(SonotuneError, match="nothing answers at --address auto, which is"):
        next(iter(examine_cluster("auto", str(tmp_path))))
