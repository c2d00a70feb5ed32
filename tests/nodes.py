"""A real Ray cluster of several nodes on this machine, in a process of its own, with a token of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass
class Nodes:
    address: str
    environment: Mapping[str, str]
    process: "subprocess.Popen[str]"

    def add(self, **node: Any) -> None:
        """`num_cpus`, `num_gpus`, `resources` as `ray start` knows them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{node!r}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "added"

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """A `sonotune` command that knows the token."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=600, cwd=ROOT,
                              env={**self.environment, **environment})  # fmt: skip

    @staticmethod
    def command(*words: str) -> list[str]:
        return [sys.executable, "-W", "ignore", "-c", "from engine.cli import main; main()", *words]


@contextmanager
def nodes(*each: Mapping[str, Any]) -> Iterator[Nodes]:
    """The first is the head. Token authentication is on, as it is wherever Ray is not told otherwise."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    process = subprocess.Popen([sys.executable, "-W", "ignore", __file__], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        cluster = Nodes("", environment, process)
        for node in each:
            cluster.add(**node)
        process.stdin.write("address\n")
        process.stdin.flush()
        cluster.address = process.stdout.readline().strip()
        yield cluster
    finally:
        process.stdin.close()
        process.wait(60)


def _serve() -> None:
    """Adds the nodes it reads of, and ends them all when nobody writes any more."""
    import ast

    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for line in sys.stdin:
        if line.strip() == "address":
            print(cluster.address, flush=True)
        else:
            cluster.add_node(include_dashboard=False, **ast.literal_eval(line))
            print("added", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
