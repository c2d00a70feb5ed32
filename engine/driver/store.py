"""Whether the packed data fits into the shared memory of the nodes that are to train on it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.data.cases import Pack
from engine.driver.resources import Node
from engine.errors import SonotuneError

log = logging.getLogger("sonotune")
MIB = 2**20
WAY_OUT = (
    "start Ray there with a larger --object-store-memory (and a larger /dev/shm), or choose a "
    "smaller data.size"
)


def packed_bytes(pack: Pack) -> int:
    return sum(array.nbytes for array in (pack.images, pack.masks, pack.labels, pack.sizes, pack.spacing))


def check_room(pack: Pack, nodes: Iterable[Mapping[str, Any]]) -> None:
    """`nodes` as `ray.nodes()` tells. Ray itself would put the data into files and read them for ever."""
    need = packed_bytes(pack)
    rooms = [
        (node["Resources"]["object_store_memory"], node["NodeManagerHostname"])
        for node in nodes
        if node["Alive"] and "object_store_memory" in node["Resources"]
    ]
    room, host = min(rooms, default=(need, ""))
    if need > room:
        raise SonotuneError(
            f"the packed data set takes {need / MIB:.0f} MiB, but Ray's object store on {host} holds "
            f"{room / MIB:.0f} MiB; {WAY_OUT}"
        )


class LateRooms:
    """Of a node that comes when folds are trained already the study cannot be refused: it is said, once."""

    def __init__(self, pack: Pack) -> None:
        self.need = packed_bytes(pack)
        self.told: set[str] = set()

    def look(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            room = node.get("object_store_memory", self.need)
            name = next((key for key in node if key.startswith("node:")), "a node")
            if room >= self.need or name in self.told:
                continue
            self.told.add(name)
            log.warning(
                "the object store on %s holds %.0f MiB and the packed data set takes %.0f MiB: folds there "
                "read it from files, slowly; %s",
                name.removeprefix("node:"), room / MIB, self.need / MIB, WAY_OUT,
            )  # fmt: skip
