"""Ray clusters of three nodes on one machine: who trains what, what travels, who may join."""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes import Nodes, nodes
from tests.noting import come, let_go, notes, noting, wait_for
from tests.run_folder import records

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def three() -> Iterator[Nodes]:
    with nodes({"num_cpus": 1}, {"num_cpus": 2}, {"num_cpus": 2}) as cluster:
        yield cluster


def test_folds_spread_over_nodes_and_share_one_copy_of_the_data_on_each(three: Nodes, tmp_path: Path) -> None:
    many = {"count": 3000, "size": 32, "source": "phantom"}
    resources = {"workers": "auto", "device": "cpu"}
    search = {"sampler": "random", "configs": 8}
    driver = noting(three, tmp_path, data=many, resources=resources, search=search)
    wait_for(lambda: len(come(tmp_path)) == 5)  # all places of all nodes are taken
    let_go(tmp_path)
    told, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, told
    found = notes(tmp_path)
    assert len(found) == 16
    assert len(Counter(node for node, *_ in found)) == 3
    places = defaultdict(set)
    for node, inode, offset, writeable in found:
        assert not writeable
        places[node].add((inode, offset))
    assert [len(of_node) for of_node in places.values()] == [1, 1, 1]  # two workers on a node see one buffer
    assert len(set.union(*places.values())) == 3


PENDING = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print([g["bundles"][0] for g in ray.util.placement_group_table().values() if g["state"] == "PENDING"])
"""


def demand(cluster: Nodes) -> list[dict[str, float]]:
    """What an autoscaler would see."""
    words = [sys.executable, "-W", "ignore", "-c", PENDING, cluster.address]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(cluster.environment), check=True)
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1].replace("'", '"'))
    return found


def test_a_search_waits_for_the_nodes_it_was_promised_and_takes_each_that_comes(tmp_path: Path) -> None:
    """From a head that holds no fold, over a GPU node, to a second one that is added while folds run."""
    resources = {"workers": 3, "gpu": 0.5, "cpu": 1, "custom": {"big": 0.01}}
    search = {"sampler": "random", "configs": 10}
    gpu = {"num_cpus": 2, "num_gpus": 1, "resources": {"big": 1}}
    with nodes({"num_cpus": 0}, {"num_cpus": 4, "num_gpus": 4}) as cluster:
        driver = noting(cluster, tmp_path, resources=resources, search=search)
        assert driver.stdout is not None
        line = driver.stdout.readline()
        assert "waiting for a node with CPU 1, GPU 0.5, big 0.01; the cluster has CPU 4, GPU 4" in line
        wait_for(lambda: len(demand(cluster)) == 3)
        assert demand(cluster)[0] == {"CPU": 1.0, "GPU": 0.5, "big": 0.01}
        assert not (tmp_path / "run" / "journal.jsonl").exists()  # nothing is drawn before it can be trained
        cluster.add(**gpu)
        wait_for(lambda: len(come(tmp_path)) == 2)
        wait_for(lambda: len(demand(cluster)) == 1)
        assert len(set(come(tmp_path))) == 1
        cluster.add(**gpu)
        wait_for(lambda: len(come(tmp_path)) == 3)
        assert len(set(come(tmp_path))) == 2
        wait_for(lambda: not demand(cluster))
        let_go(tmp_path)
        told, _ = driver.communicate(timeout=600)
        assert driver.returncode == 0, told
    count = Counter(node for node, *_ in notes(tmp_path))
    assert sum(count.values()) == 20
    assert len(count) == 2
    assert len(records(tmp_path / "run", "opened")) == 10


def test_a_driver_with_another_token_is_refused_in_one_sentence(three: Nodes, tmp_path: Path) -> None:
    done = three.run("doctor", "--address", three.address, "--run", str(tmp_path), RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    assert "token" in done.stderr
    assert "ray get-auth-token" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_asks_every_node(three: Nodes, tmp_path: Path) -> None:
    done = three.run("doctor", "--address", three.address, "--run", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("packages", "memory", "/dev/shm", "storage", "clock", "a fold"):
        assert len(re.findall(rf"(green|yellow) +{what} ", done.stdout)) == 3, done.stdout


HOLD = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
holder = ray.remote(num_cpus=0, num_gpus=1)(type("Holder", (), {"ready": lambda self: True})).remote()
print(ray.get(holder.ready.remote()), flush=True)
time.sleep(600)
"""


def test_the_doctor_waits_for_no_gpu_that_others_use(tmp_path: Path) -> None:
    with nodes({"num_cpus": 1, "num_gpus": 1}) as cluster:
        words = [sys.executable, "-W", "ignore", "-c", HOLD, cluster.address]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=dict(cluster.environment)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"True\n"
            done = cluster.run("doctor", "--address", cluster.address, "--run", str(tmp_path / "runs"))
            holder.kill()
    assert re.search(r"green +a fold ", done.stdout), done.stdout + done.stderr
    assert set(re.findall(r"^ *red +(\S+)", done.stdout, re.MULTILINE)) <= {"GPU"}  # it is made up
