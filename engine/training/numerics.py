"""What a result's digits depend on besides its configuration; resolved once per study and journaled.

A share of a machine's cores must not change results, so the number of threads is a fact of the study and
not of the worker, and `precision: auto` means the same everywhere once the study has begun.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import SonotuneError
from engine.spec.resources import Resources
from engine.spec.train import Train

# AMX has tiles for it, AVX-512 instructions with twice the products of float32. CPUs that have neither
# emulate it and lose.
BFLOAT16 = {"amx_bf16", "avx512_bf16"}
TRAINING_VERSION = 9  # raised whenever a change of the training code changes its digits

Precision = Literal["off", "bf16", "fp16"]


@dataclass(frozen=True)
class Numerics:
    device: Literal["cpu", "cuda"]
    auto_precision: Precision
    threads: int
    version: int = TRAINING_VERSION

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Numerics":
        """Of a run that goes on: results of this training code must not lie at addresses of another."""
        found = cls(**record)
        if found.version != TRAINING_VERSION:
            raise SonotuneError(
                f"this run began with version {found.version} of the training code, this sonotune has "
                f"version {TRAINING_VERSION} and trains to other digits; go on with the sonotune that began "
                "it, or start a new run"
            )
        return found

    def precision(self, train: Train) -> Precision:
        return self.auto_precision if train.precision == "auto" else train.precision


def resolve(resources: Resources) -> Numerics:
    """Asked on a machine like those that will train: has it a GPU, has it units for bfloat16?"""
    import torch

    cuda = torch.cuda.is_available()
    if resources.device == "cuda" and not cuda:
        raise SonotuneError("resources.device: is 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'")
    if not cuda or resources.device == "cpu":
        return on_cpu(resources)
    fast = torch.cuda.is_bf16_supported(including_emulation=False)
    return Numerics("cuda", "bf16" if fast else "off", threads(resources, "cuda"))


def on_cpu(resources: Resources) -> Numerics:
    """Without torch where the kernel tells: importing it is most of what a driver of few folds would do."""
    precision: Precision = "bf16" if BFLOAT16 & cpu_units() else "off"
    return Numerics("cpu", precision, threads(resources, "cpu"))


def cpu_units(told: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the processor can, under the names that Linux and torch have in common."""
    with suppress(OSError):
        for line in told.read_text().splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    import torch

    return {unit for unit, there in torch.cpu.get_capabilities().items() if there is True}


def threads(resources: Resources, device: Literal["cpu", "cuda"]) -> int:
    """They follow a fold's share of the cores where it is given; on a GPU they change next to nothing."""
    if resources.threads != "auto":
        return resources.threads
    return max(1, int(resources.cpu)) if device == "cpu" and resources.cpu != "auto" else 1
