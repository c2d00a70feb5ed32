"""What a result's digits depend on besides its configuration; resolved once per study and journaled.

A share of a machine's cores must not change results, so the number of threads is a fact of the study and
not of the worker, and `precision: auto` means the same everywhere once the study has begun.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.errors import SonotuneError
from engine.spec.resources import Resources
from engine.spec.train import Train

TRAINING_VERSION = 7  # raised whenever a change of the training code changes its digits

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
    device: Literal["cpu", "cuda"] = "cuda" if cuda and resources.device != "cpu" else "cpu"
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = multiplies_bfloat16(torch.cpu.get_capabilities())
    return Numerics(device, "bf16" if fast else "off", threads(resources, device))


def multiplies_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """AMX has tiles for it, AVX-512 instructions with twice the products of float32. CPUs that have
    neither emulate it and lose."""
    return any(capabilities.get(unit, False) for unit in ("amx_bf16", "avx512_bf16"))


def threads(resources: Resources, device: Literal["cpu", "cuda"]) -> int:
    """They follow a fold's share of the cores where it is given; on a GPU they change next to nothing."""
    if resources.threads != "auto":
        return resources.threads
    return max(1, int(resources.cpu)) if device == "cpu" and resources.cpu != "auto" else 1
