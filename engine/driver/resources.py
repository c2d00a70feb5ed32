"""How many folds run side by side, and what each of them holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import SonotuneError
from engine.spec.resources import Resources


@dataclass(frozen=True)
class Share:
    """What one fold asks Ray for."""

    cpu: float
    gpu: float
    custom: Mapping[str, float]

    def request(self) -> dict[str, float]:
        return {"cpu": self.cpu, "gpu": self.gpu, **self.custom}

    def slots(self, cluster: Mapping[str, float]) -> int:
        """How many such shares the cluster holds."""
        wants = {"CPU": self.cpu, "GPU": self.gpu, **self.custom}
        return int(min(cluster.get(name, 0.0) // amount for name, amount in wants.items() if amount > 0))


def share(resources: Resources, cluster: Mapping[str, float]) -> Share:
    gpus = cluster.get("GPU", 0.0) if resources.device != "cpu" else 0.0
    gpu = resources.gpu if resources.gpu != "auto" else float(gpus > 0)
    cpu = resources.cpu if resources.cpu != "auto" else _cpu(resources, cluster.get("CPU", 1.0), gpus, gpu)
    wanted = Share(cpu, gpu, resources.custom)
    if wanted.slots(cluster) < 1:
        has = ", ".join(f"{name} {amount:g}" for name, amount in sorted(cluster.items()) if ":" not in name)
        raise SonotuneError(
            f"resources: one fold asks for {wanted.request()}, the cluster has {has}; "
            "ask for less, or add nodes"
        )
    return wanted


def _cpu(resources: Resources, cpus: float, gpus: float, gpu: float) -> float:
    """Its threads, or with GPUs its part of the cores, so that data loading keeps up."""
    if gpu > 0:
        return max(1.0, cpus * gpu // gpus)
    return float(min(resources.threads, int(cpus)))


def slots(resources: Resources, wanted: Share, cluster: Mapping[str, float]) -> int:
    most = wanted.slots(cluster)
    return most if resources.workers == "auto" else min(most, resources.workers)
