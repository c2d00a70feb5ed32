"""`sonotune doctor --address`: the same checks on every node, and what only shows between them."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.doctor import Driver, Finding, Level, examine, versions
from engine.driver.cluster import check_address, connected
from engine.folder import no_new_folders
from engine.storage import Storage, open_storage

PATIENCE = 180.0  # seconds for a node to answer
NEAR, FAR = 2.0, 300.0  # seconds between two clocks: S3 refuses a request that is signed 15 minutes off


def examine_cluster(address: str, location: str) -> Iterator[tuple[str, list[Finding]]]:
    """Every node that is alive, each by its own worker."""
    check_address(address)
    place = open_storage(location)
    with connected(address), _marked(place) as mark:
        driver = Driver(versions(), mark)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = [_on(node, examine).remote(place.location, _known(driver, node)) for node in nodes]
        for node, answer in zip(nodes, asked, strict=True):
            yield _name(node), _answer(node, answer)


def _known(driver: Driver, node: dict[str, Any]) -> Driver:
    return replace(driver, gpus=node["Resources"].get("GPU", 0.0))


def _answer(node: dict[str, Any], answer: Any) -> list[Finding]:
    try:
        return [*ray.get(answer, timeout=PATIENCE), _clock_of(node)]
    except ray.exceptions.RayError as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [Finding("answer", "red", first, "see whether the node is overloaded: ray status")]


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, node {node['NodeID'][:6]})"


def _on(node: dict[str, Any], function: Any) -> Any:
    """Without a part of its GPUs, as all may be in use: Ray hides none from a worker that asks for none."""
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(num_cpus=0, scheduling_strategy=here)


def _clock_of(node: dict[str, Any]) -> Finding:
    """The quickest of a few answers says most."""
    ask = _on(node, _now)
    rounds = []
    for _ in range(3):
        asked = time.time()
        told = ray.get(ask.remote(), timeout=PATIENCE)
        rounds.append((time.time() - asked, asked, told))
    took, asked, told = min(rounds)
    return clock(asked, told, asked + took)


def _now() -> float:
    return time.time()


def clock(asked: float, told: float, answered: float) -> Finding:
    """A clock may be right if it shows a time between question and answer."""
    apart = max(0.0, asked - told, told - answered)
    level: Level = "green" if apart <= NEAR else "yellow" if apart <= FAR else "red"
    fix = "" if level == "green" else "synchronise it: timedatectl set-ntp true"
    near = f"within {max(apart, answered - asked):.1f} s of the driver's"
    return Finding("clock", level, near if level == "green" else f"{apart:.0f} s off", fix)


@contextmanager
def _marked(place: Storage) -> Iterator[str]:
    """A file that every node must see, gone afterwards."""
    mark = f"doctor-{secrets.token_hex(4)}"
    with no_new_folders(place):
        place.write(mark, b"sonotune\n")
        try:
            yield mark
        finally:
            place.delete(mark)
