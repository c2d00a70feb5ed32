"""The doctor says what is wrong and how it is mended, and never fails itself."""

import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from engine import doctor
from engine.cli.app import app
from engine.doctor import GIB, Finding


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


@pytest.mark.slow
def test_every_node_of_a_cluster_is_asked(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        answers = list(doctor.examine_cluster(cluster.address, str(tmp_path)))
    finally:
        cluster.shutdown()
    assert len(answers) == 2
    for _, findings in answers:
        assert {one.what for one in findings} >= {"packages", "memory", "storage", "a fold"}
        assert "red" not in {one.level for one in findings}
