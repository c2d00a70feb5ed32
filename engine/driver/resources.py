"""How many folds run side by side, and what each of them holds. Arithmetic only: nodes go in as numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import SonotuneError
from engine.spec.resources import Resources

Node = Mapping[str, float]  # what one node has in all, by Ray's names

UNIT = 10_000  # Ray counts in ten-thousandths, so that 10 tenths are 1
MARGIN = 1.2  # a fold is given this much of a GPU for each byte that its first steps were seen to use


@dataclass(frozen=True)
class Share:
    """What one fold asks Ray for."""

    cpu: float
    gpu: float
    custom: Mapping[str, float]

    def request(self) -> dict[str, float]:
        return {"cpu": self.cpu, "gpu": self.gpu, **self.custom}

    def bundle(self) -> dict[str, float]:
        """The same by the names that Ray gives to resources."""
        wants = {"CPU": self.cpu, "GPU": self.gpu, **self.custom}
        return {name: amount for name, amount in wants.items() if amount > 0}

    def slots(self, nodes: Sequence[Node]) -> int:
        """Counted node by node: a fold cannot hold half a core here and half a core there."""
        return sum(self.on(node) for node in nodes)

    def on(self, node: Node) -> int:
        return min(_times(name, node.get(name, 0.0), amount) for name, amount in self.bundle().items())


def _times(name: str, has: float, wanted: float) -> int:
    """A fold that takes part of a GPU takes it of one GPU."""
    if name == "GPU" and wanted < 1:
        return int(has) * _on_gpu(wanted)
    return _units(has) // _units(wanted)


def _on_gpu(part: float) -> int:
    return UNIT // _units(part)


def _units(amount: float) -> int:
    return max(1, round(amount * UNIT)) if amount > 0 else 0


def share(
    resources: Resources,
    nodes: Sequence[Node],
    device: Literal["cpu", "cuda"] | None = None,
    per_gpu: int = 1,
) -> Share:
    """`device`: of a study that has begun; `per_gpu`: folds that were measured to fit on one GPU."""
    gpu = _gpu(resources, nodes, device, per_gpu)
    cpu = resources.cpu if resources.cpu != "auto" else _cpu(resources, nodes, gpu)
    return Share(cpu, gpu, resources.custom)


def _gpu(resources: Resources, nodes: Sequence[Node], device: str | None, per_gpu: int) -> float:
    if resources.gpu != "auto":
        return resources.gpu
    if device == "cpu" or resources.device == "cpu":
        return 0.0
    wanted = device == "cuda" or resources.device == "cuda"
    return part_of_gpu(per_gpu) if wanted or any(node.get("GPU", 0.0) > 0 for node in nodes) else 0.0


def part_of_gpu(folds: int) -> float:
    """Rounded down to what Ray counts in, or the last fold would not fit."""
    return UNIT // folds / UNIT


def _cpu(resources: Resources, nodes: Sequence[Node], gpu: float) -> float:
    """Its threads, or with GPUs its part of a GPU node's cores, so that data loading keeps up."""
    if gpu > 0:
        here = cores_per_gpu(resources, nodes)
        return max(1.0, here // _on_gpu(gpu) if gpu < 1 else here * gpu // 1)
    threads = _threads(resources)
    most = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    return float(min(threads, int(most))) if most >= 1 else float(threads)


def _threads(resources: Resources) -> int:
    return 1 if resources.threads == "auto" else resources.threads


def cores(resources: Resources) -> int | None:
    """That a Ray of our own must declare for the folds asked for; None where it may count for itself."""
    if resources.workers == "auto":
        return None
    each = _threads(resources) if resources.cpu == "auto" else resources.cpu
    return math.ceil(resources.workers * each)


def cores_per_gpu(resources: Resources, nodes: Sequence[Node]) -> float:
    """Of the node with the fewest, among those on which folds may run."""
    return min((node.get("CPU", 0.0) / node["GPU"] for node in _suited(resources, nodes)), default=1.0)


def _suited(resources: Resources, nodes: Sequence[Node]) -> list[Node]:
    """Those with a GPU, of the kind that was asked for."""
    return [n for n in nodes if n.get("GPU", 0.0) > 0 and all(n.get(name) for name in resources.custom)]


def folds_on_gpu(used: float, total: float, cores: float, most: float = math.inf) -> int:
    """`used`: memory that the largest configuration takes of a GPU's `total`; each fold needs a core."""
    return max(1, int(min(total // (MARGIN * used), cores, most)))


def most_per_gpu(resources: Resources, nodes: Sequence[Node]) -> float:
    """No more than were asked for, and than their cores allow where these were said, so that few folds share
    a GPU's memory among few."""
    gpus = sum(node["GPU"] for node in _suited(resources, nodes))
    asked = math.inf if resources.workers == "auto" or not gpus else math.ceil(resources.workers / gpus)
    each = 1.0 if resources.cpu == "auto" else resources.cpu
    return min(asked, cores_per_gpu(resources, nodes) // each)


def slots(resources: Resources, wanted: Share, nodes: Sequence[Node]) -> int:
    most = wanted.slots(nodes)
    return most if resources.workers == "auto" else min(most, resources.workers)


def may_wait(resources: Resources) -> bool:
    """Whether nodes were asked for in so many words; else a cluster without room is a mistake."""
    return resources.workers != "auto" or (resources.gpu != "auto" and resources.gpu > 0)


def short_of(resources: Resources, count: int) -> int:
    """Folds for which nodes are still to come: what an autoscaler should know of."""
    wanted = 1 if resources.workers == "auto" else resources.workers
    return max(0, wanted - count)


def no_room(wanted: Share, nodes: Sequence[Node]) -> SonotuneError:
    return SonotuneError(
        f"resources: one fold asks for {told(wanted.bundle())}, no node has that much ({has(nodes)}); "
        "ask for less, or add nodes. A cluster that adds them by itself needs to be told how many folds "
        "shall run side by side: --set resources.workers=8"
    )


def has(nodes: Sequence[Node]) -> str:
    """What there is in all, without what only Ray's own bookkeeping needs."""
    names = sorted({name for node in nodes for name in node if not _bookkeeping(name)})
    return told({name: sum(node.get(name, 0.0) for node in nodes) for name in names}) or "no core and no GPU"


def _bookkeeping(name: str) -> bool:
    return name.startswith("node:") or name in ("memory", "object_store_memory")


def told(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items())
