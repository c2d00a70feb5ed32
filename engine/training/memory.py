"""A fold's part of a GPU's memory: seen while it trains, and held to."""

import torch

CONTEXT = 600 * 2**20  # what CUDA and its libraries take in each process beside torch's own blocks


def in_use() -> tuple[float, float]:
    """Of the current GPU, by all of its processes, and in all: bytes."""
    free, total = torch.cuda.mem_get_info()
    return float(total - free), float(total)


def allowed(part: float, total: float) -> float:
    """The share of a GPU's memory that torch may allocate, so that it and CUDA's context keep to `part`."""
    return max(part - CONTEXT / total, part / 2)


def hold_to(part: float) -> None:
    """A fold that shares its GPU fails alone when it asks for more than its part; one that has all of it may
    take all, also in a process that was held to less before."""
    if part > 0 and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(allowed(part, total) if part < 1 else 1.0)
