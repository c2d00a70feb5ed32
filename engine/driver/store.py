"""Whether the packed data fits into the shared memory of the nodes that are to train on it."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.data.cases import Pack
from engine.errors import SonotuneError

MIB = 2**20


def packed_bytes(pack: Pack) -> int:
    return sum(array.nbytes for array in (pack.images, pack.masks, pack.labels, pack.sizes, pack.spacing))


def check_room(pack: Pack, nodes: Iterable[Mapping[str, Any]]) -> None:
    """`nodes` as `ray.nodes()` tells. Ray itself would put the data into files and read them for ever."""
    need = packed_bytes(pack)
    rooms = {
        node["NodeManagerHostname"]: node["Resources"]["object_store_memory"]
        for node in nodes
        if node["Alive"] and "object_store_memory" in node["Resources"]
    }
    host = min(rooms, key=lambda name: rooms[name], default=None)
    if host is not None and need > rooms[host]:
        raise SonotuneError(
            f"the packed data set takes {need / MIB:.0f} MiB, but Ray's object store on {host} holds "
            f"{rooms[host] / MIB:.0f} MiB; start Ray there with a larger --object-store-memory (and a larger "
            "/dev/shm), or choose a smaller data.size"
        )
