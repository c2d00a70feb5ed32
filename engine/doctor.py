"""Looks at a machine: is what a search needs there, and how is it mended? `driver/examine.py` asks nodes."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from engine.errors import SonotuneError, without_secrets
from engine.folder import try_to_write
from engine.storage import open_storage
from engine.words import plural

Level = Literal["green", "yellow", "red"]
GIB = 2**30
NAMED = ("torch", "ray", "optuna", "numpy", "monai", "albumentations", "pyarrow")  # must agree between nodes

FOLD = {
    "study": "doctor",
    "data": {"count": 48, "size": 32},
    "folds": {"k": 2},
    "model": {"width": 4, "depth": 2},
    "train": {"epochs": 1, "batch": 8},
    "resources": {"keep": "none"},
}


@dataclass(frozen=True)
class Finding:
    what: str
    level: Level
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Driver:
    """What a node of a cluster is compared with."""

    versions: Mapping[str, str]
    mark: str  # a file that the driver has put into the run's storage
    gpus: float = 0.0  # that Ray was told of on the node


def examine(location: str, driver: Driver | None = None) -> list[Finding]:
    """Everything on this machine; a check that fails itself is a red finding, not a traceback."""
    checks: dict[str, Callable[[], Finding]] = {
        "packages": packages,
        "GPU": lambda: gpus(driver.gpus if driver else 0.0),
        "memory": memory,
        "/dev/shm": shared_memory,
        "storage": lambda: storage(location, driver.mark if driver else None),
        "a fold": fold,
    }
    if driver is not None:
        checks = {"versions": lambda: agreement(driver.versions, versions())} | checks
    return [_safely(what, check) for what, check in checks.items()]


def _safely(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        return Finding(what, "red", f"{type(error).__name__}: {error}", "mend what the message names")


def packages() -> Finding:
    """Against the bounds that the installed distribution states; a bare checkout states none."""
    python = f"Python {platform.python_version()}"
    try:
        wanted = [Requirement(line) for line in metadata.requires("sonotune") or ()]
    except metadata.PackageNotFoundError:
        return Finding("packages", "yellow", f"{python}; sonotune is not installed", "pip install -e .")
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [f"{r.name} {_version(r.name) or 'is missing'} ({r.specifier})" for r in needed if not _meets(r)]
    if wrong:
        return Finding("packages", "red", f"{python}; {', '.join(wrong)}", "make setup")
    told = ", ".join(f"{name} {_version(name)}" for name in ("torch", "ray", "optuna"))
    return Finding("packages", "green", f"{python}, {told}")


def versions() -> dict[str, str]:
    """Without what names a build: a head without a GPU may have a torch without CUDA."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python} | {name: (_version(name) or "missing").partition("+")[0] for name in NAMED}


def agreement(driver: Mapping[str, str], node: Mapping[str, str]) -> Finding:
    """Ray insists on its own version and Python's; another torch trains, but to other digits."""
    apart = [f"{name} {node[name]} (driver: {driver[name]})" for name in driver if node[name] != driver[name]]
    if not apart:
        return Finding("versions", "green", "the driver's")
    hopeless = any(line.startswith(("Python", "ray", "torch")) for line in apart)
    level: Level = "red" if hopeless else "yellow"
    return Finding("versions", level, ", ".join(apart), "install one constraints.txt everywhere: make setup")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _meets(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def gpus(declared: float = 0.0) -> Finding:
    """`declared`: what Ray gives to folds there, whether torch sees it or not."""
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < declared:
        return Finding("GPU", "red", f"Ray was told of {declared:g}, torch {torch.__version__} sees {seen}",
                       "install a torch build for its CUDA (make setup TORCH=…), or tell Ray the number: "
                       f"ray start --num-gpus={seen}")  # fmt: skip
    if torch.cuda.is_available():
        each = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        told = ", ".join(f"{p.name} ({p.total_memory / GIB:.0f} GiB)" for p in each)
        return Finding("GPU", "green", told)
    if shutil.which("nvidia-smi"):
        return Finding("GPU", "red", f"there is one, but torch {torch.__version__} sees none",
                       "install a torch build for its CUDA: make setup TORCH=…")  # fmt: skip
    return Finding("GPU", "yellow", "none; folds train on the CPU", "for real data use a machine with a GPU")


def memory() -> Finding:
    free = _meminfo("MemAvailable")
    level: Level = "green" if free >= 4 * GIB else "yellow" if free >= 2 * GIB else "red"
    fix = "" if level == "green" else "stop other programs, or lower resources.workers"
    return Finding("memory", level, f"{free / GIB:.1f} GiB free, {plural(os.cpu_count() or 1, 'core')}", fix)


def shared_memory() -> Finding:
    """Ray keeps its object store there, 30 % of the memory by default; without room it falls back to disk."""
    room, wanted = shutil.disk_usage("/dev/shm").total, 0.3 * _meminfo("MemTotal")
    if room >= wanted:
        return Finding("/dev/shm", "green", f"{room / GIB:.1f} GiB")
    return Finding("/dev/shm", "yellow", f"{room / GIB:.2f} GiB, Ray would use {wanted / GIB:.1f} GiB",
                   f"in Docker: --shm-size={wanted / GIB:.0f}g")  # fmt: skip


def _meminfo(name: str) -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def storage(location: str, mark: str | None = None) -> Finding:
    """`mark`: what a driver elsewhere has written there, which must be seen here."""
    place, location = open_storage(location), without_secrets(location)
    try:
        try_to_write(place)
        place.list("")  # a right of its own on S3
    except SonotuneError as error:
        return Finding("storage", "red", str(error), "give the rights or make room, or choose another --run")
    if mark is not None and not place.exists(mark):
        return Finding("storage", "red", f"{location} can be written, but is not the driver's {location}",
                       "mount one file system at this path on every node, or give a URI")  # fmt: skip
    local = place.local()
    if local is None:
        return Finding("storage", "green", f"{location} can be written")
    there = next(folder for folder in (local, *local.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    level: Level = "green" if free >= 5 * GIB else "yellow"
    fix = "" if level == "green" else "make room, or set resources.keep: none"
    return Finding("storage", level, f"{location} can be written, {free / GIB:.1f} GiB free", fix)


def fold() -> Finding:
    """Synthetic images through all of training, in a folder that is gone afterwards."""
    from engine.spec.load import study_of
    from engine.training.alone import train_alone

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(train_alone(study_of(FOLD, "doctor"), scratch, "r0-f0"))
    speed = rows[-1]["images_per_second"]
    seconds = time.perf_counter() - began
    return Finding("a fold", "green", f"trained in {seconds:.1f} s, {speed:.0f} images/s at 32×32")
