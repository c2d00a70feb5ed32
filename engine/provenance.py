"""What a reader needs to repeat a run: the command, the versions, the data and the folds."""

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine import __version__
from engine.errors import without_secrets

PACKAGES = ("torch", "ray", "optuna", "monai", "albumentations", "numpy", "pyarrow", "scikit-learn", "scipy")


def provenance(data: str, folds: str, numerics: Mapping[str, Any], command: str) -> bytes:
    """Nothing of the environment's variables."""
    record = {
        "command": command,
        "sonotune": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git": _git_state(),
        "data": data,
        "folds": folds,
        "numerics": dict(numerics),
    }
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def command_line() -> str:
    """As it was given, but for user names, passwords and keys in addresses."""
    return shlex.join(["sonotune", *(_shown(word) for word in sys.argv[1:])])


def _shown(word: str) -> str:
    return without_secrets(word) if "://" in word else word


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Of sonotune's own checkout, where it runs from one."""
    root = Path(__file__).parents[1]

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
