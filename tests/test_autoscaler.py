"""A search on a cluster that has no room for it yet, and Ray's own autoscaler that makes some."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.growing import growing
from tests.nodes import Nodes
from tests.noting import come, let_go, notes, noting, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ALIVE = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
"""


def alive(cluster: Nodes) -> int:
    words = [sys.executable, "-W", "ignore", "-c", ALIVE, cluster.address]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(cluster.environment), check=True)
    return int(done.stdout.splitlines()[-1])


def test_nodes_come_for_a_search_and_go_when_its_driver_is_killed(tmp_path: Path) -> None:
    """Then once more for its resume, which trains all that was lost with the driver."""
    with growing(tmp_path, most=2, CPU=1) as cluster:
        driver = noting(cluster, tmp_path)
        assert driver.stdout is not None
        assert "waiting for a node with CPU 1; the cluster has no core and no GPU" in driver.stdout.readline()
        wait_for(lambda: len(set(come(tmp_path))) == 2)  # each on a node of its own
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        wait_for(lambda: alive(cluster) == 1)
        let_go(tmp_path)
        assert notes(tmp_path) == []
        resumed = cluster.run("resume", str(tmp_path / "run"), "--address", cluster.address)
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert len(list((tmp_path / "run").glob("results/**/result.json"))) == 6
        wait_for(lambda: alive(cluster) == 1)
