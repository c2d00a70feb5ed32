"""How many folds share a GPU: as many as fit into its memory, by a step of the largest configuration.

Measured once, by a worker that has a GPU for itself, and journaled: a resume shares as the run began.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.driver import resources as shares
from engine.driver.ask import answer
from engine.driver.resources import Node, Share
from engine.errors import SonotuneError
from engine.spec.resources import Resources
from engine.training.alone import Bench

GIB = 2**30


@dataclass(frozen=True)
class Packed:
    folds: int  # on one GPU
    used: float = 0.0  # bytes, by the largest configuration
    total: float = 0.0

    def record(self) -> dict[str, Any]:
        return {"event": "packed"} | asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.folds} folds share a GPU: the largest configuration takes {self.used / GIB:.1f} GiB of "
            f"{self.total / GIB:.1f}"
        )


ALONE = Packed(1)


def packed_in(records: Iterable[Mapping[str, Any]]) -> Packed:
    found = [record for record in records if record["event"] == "packed"]
    return Packed(**{name: found[-1][name] for name in ("folds", "used", "total")}) if found else ALONE


def pack(bench: Bench, share: Share, nodes: Sequence[Node]) -> Packed:
    """Only where the study leaves it to us and folds train on GPUs."""
    resources = bench.study.fixed.resources
    if bench.numerics.device != "cuda" or resources.gpu != "auto" or share.gpu == 0:
        return ALONE
    return packed(resources, nodes, *_measure(bench, share))


def packed(resources: Resources, nodes: Sequence[Node], used: float, total: float) -> Packed:
    cores = shares.cores_per_gpu(resources, nodes)
    most = shares.most_per_gpu(resources, nodes)
    return Packed(shares.folds_on_gpu(used, total, cores, most), used, total)


def _measure(bench: Bench, share: Share) -> tuple[float, float]:
    try:
        return answer(_on_worker, bench, 1, share.custom)
    except SonotuneError as error:
        raise SonotuneError(
            f"a step of the largest configuration failed on a GPU ({error}); make the space "
            "smaller, or give resources.gpu to train without this measurement"
        ) from error


def _on_worker(bench: Bench) -> tuple[float, float]:
    from engine.probe import memory_of_largest

    return memory_of_largest(bench)
