"""A driver whose workers say that they have come, wait to be let go on, and note where they are."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.spec.text import dump
from tests.nodes import ROOT, Nodes
from tests.test_driver import document

# On which node a worker is, and where its images lie.
NOTING = """
import json, os, sys, time
from pathlib import Path

import ray
from rich.console import Console

from engine.driver import launch
from engine.driver.worker import FoldTrainable
from engine.results import FoldResult
from engine.spec.load import load

class Noting(FoldTrainable):
    def start(self):
        return self.note(Path(sys.argv[3]))

    def note(self, folder):
        node = ray.get_runtime_context().get_node_id()
        (folder / f"come-{node}-{os.getpid()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
        images = self.shared.pack.images
        at = images.ctypes.data
        for line in open("/proc/self/maps"):
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if first <= at < last:
                inode, offset = line.split()[4], int(line.split()[2], 16) + at - first
        text = json.dumps([node, inode, offset, images.flags.writeable])
        (folder / f"{self.task.key}-{self.task.fold}.json").write_text(text)
        yield {"epoch": 1, "score": 0.5, "best": 0.5, "values": [0.5], "stage": "main"}
        return FoldResult(self.task.key, self.task.fold, "complete", {}, [], "", score=0.5, values=[0.5])

if __name__ == "__main__":
    study = load(Path(sys.argv[1]))
    print(launch.search(study, sys.argv[2], Console(), sys.argv[4], trainable=Noting).reason)
"""


def noting(cluster: Nodes, folder: Path, **sections: Any) -> "subprocess.Popen[str]":
    (folder / "notes").mkdir()
    (folder / "driver.py").write_text(NOTING.replace("sys.argv[3]", repr(str(folder / "notes"))))
    (folder / "space.yaml").write_text(dump(document(**sections)))
    words = [str(folder / "space.yaml"), str(folder / "run"), "-", cluster.address]
    command = [sys.executable, "-W", "ignore", str(folder / "driver.py"), *words]
    into = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, text=True, cwd=ROOT, env=dict(cluster.environment), **into)


def notes(folder: Path) -> list[list[Any]]:
    return [json.loads(path.read_text()) for path in (folder / "notes").glob("*.json")]


def come(folder: Path) -> list[str]:
    """The node of each worker that has come."""
    return [path.name.split("-")[1] for path in (folder / "notes").glob("come-*")]


def let_go(folder: Path) -> None:
    (folder / "notes" / "go").touch()


def wait_for(condition: Any, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
