"""What a network costs: parameters, arithmetic, time of one image, memory."""

import ctypes
import os
import platform
import resource
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.results import FoldResult
from engine.training.network import Network

LATENCY_RUNS = 5


@dataclass(frozen=True)
class Costs:
    parameters: int = 0
    flops: int = 0  # of one image, forward
    latency_ms: float = 0.0
    peak_memory_mb: float = 0.0

    def beside(self, first: FoldResult) -> "Costs":
        """Of this network and of the one before it, one after the other."""
        return Costs(
            self.parameters + first.parameters,
            self.flops + first.flops,
            self.latency_ms + first.latency_ms,
            max(self.peak_memory_mb, first.peak_memory_mb),
        )


def counts_of(network: Network, images: np.ndarray) -> Costs:
    """What no training changes. `images`: [N, H, W, C]; one of them is predicted."""
    network.model.eval()
    counter = FlopCounterMode(display=False)
    with counter:
        network.predict(_first(images))
    parameters = sum(p.numel() for p in network.model.parameters())
    return Costs(parameters, counter.get_total_flops())


def costs_of(network: Network, images: np.ndarray) -> Costs:
    """One image is predicted a few times."""
    counts, x = counts_of(network, images), _first(images)
    return replace(counts, latency_ms=_latency(network, x), peak_memory_mb=_peak_memory(network.device))


def _first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images[:1])).permute(0, 3, 1, 2)  # [1, C, H, W]


def _latency(network: Network, x: torch.Tensor) -> float:
    times = []
    for _ in range(LATENCY_RUNS):
        began = time.perf_counter()
        network.predict(x)
        if network.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def hardware(device: str) -> str:
    """What a reader of a time or a digit must know of the machine."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    """Linux names it in a file only; elsewhere Python knows."""
    listed = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in listed if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def forget_peak(device: str) -> None:
    """A warm worker's memory at its highest may be that of what it trained before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError, AttributeError):  # Linux alone can forget
        ctypes.CDLL(None).malloc_trim(0)  # what was freed is the process's until then
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device: str) -> float:
    """In MiB; on a CPU that of the whole process, Python and its libraries included."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        status = Path("/proc/self/status").read_text()
        return float(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
