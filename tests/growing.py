"""A real Ray cluster that grows and shrinks by itself: Ray's own autoscaler, its `fake_multinode` provider.

That provider starts raylets on this machine where another would rent machines; all else, from the demand that
the autoscaler sees to the nodes it ends for being idle, is as in a cloud.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.nodes import ROOT, Nodes

HEAD = "f" * 51 + "00000"  # the name that the provider gives to the head
NAMES = ("auth", "docker", "file_mounts")
LISTS = ("rsync_exclude", "rsync_filter", "cluster_synced_files", "initialization_commands", "setup_commands",
         "head_setup_commands", "worker_setup_commands", "head_start_ray_commands",
         "worker_start_ray_commands")  # fmt: skip


def settings(address: str, most: int, resources: Mapping[str, float]) -> dict[str, Any]:
    """What `ray up` writes for the head; the provider can be told no machine, so that it asks for none."""
    worker = {"resources": dict(resources), "node_config": {}, "min_workers": 0, "max_workers": most}
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    unused = {name: {} for name in NAMES} | {name: [] for name in LISTS}
    return unused | {
        "cluster_name": "growing",
        "max_workers": most,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "head_node_type": "ray.head.default",
        "available_node_types": {"ray.head.default": head, "worker": worker},
        "file_mounts_sync_continuously": False,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "head_node_id": HEAD,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
    }


def free_address() -> str:
    from ray.util import get_node_ip_address

    with socket.socket() as free:
        free.bind(("", 0))
        return f"{get_node_ip_address()}:{free.getsockname()[1]}"


@contextmanager
def growing(folder: Path, most: int, **resources: float) -> Iterator[Nodes]:
    """A head that holds no fold, and at most so many nodes beside it, once they are asked for."""
    address, config = free_address(), folder / "cluster.json"
    config.write_text(json.dumps(settings(address, most, resources)))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # Version 2 of the autoscaler reads a file that Ray's wheel does not bring for this provider.
    fake = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "0"}
    port = address.split(":")[1]
    command = [Path(sys.executable).with_name("ray"), "start", "--block", "--head", "--num-cpus=0",
               f"--port={port}", "--include-dashboard=false", f"--autoscaling-config={config}"]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment | fake, stdout=log, stderr=log, text=True)
    try:
        yield Nodes(address, environment, head)
    finally:
        _end(head)


def _end(head: "subprocess.Popen[str]") -> None:
    """The head, and whatever nodes its autoscaler has not ended yet."""
    import psutil  # Ray brings it along

    below = psutil.Process(head.pid).children(recursive=True)
    head.terminate()
    head.wait(60)
    _, left = psutil.wait_procs(below, 20)
    for process in left:
        process.kill()
