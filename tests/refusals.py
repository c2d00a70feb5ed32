"""A small space to make mistakes in, and `sonotune` run as the shell does, which refuses them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.spec.overrides import set_path

BASE = """
study: table
data: {source: phantom, count: 24, size: 32}
folds: {k: 2}
model: {name: unet_mtl, width: 4, depth: 2}
loss: {lambda: {uniform: [0, 1]}}
train: {epochs: 1, lr: {loguniform: [1e-4, 1e-2]}}
search: {configs: 2}
profiles: {smoke: {train.epochs: 1}}
"""
Refused = Callable[..., str]


def refusing(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Gives back the one message; the work folder must stay as it is."""
    from engine.cli import main

    def run(*words: object, around: Callable[[], Any] = nullcontext) -> str:
        before = snapshot(work)
        monkeypatch.setattr(sys, "argv", ["sonotune", *map(str, words)])
        with around(), pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == 2, told
        assert "Traceback" not in told.err
        assert told.out == ""
        assert snapshot(work) == before
        return told.err

    return run


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere, and the tests of a container run as root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def space(**changes: Any) -> Path:
    """The base with some leaves changed, in the current folder; `__` stands for a dot."""
    document = yaml.safe_load(BASE.replace("1e-4", "0.0001").replace("1e-2", "0.01"))
    for path, value in changes.items():
        set_path(document, path.replace("__", "."), value)
    Path("space.yaml").write_text(yaml.safe_dump(document))
    return Path("space.yaml")
