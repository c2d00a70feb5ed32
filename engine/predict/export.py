"""The picked networks for use without sonotune: state dicts, a description, torch.export and ONNX."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from engine import __version__
from engine.data.files import writing
from engine.errors import SonotuneError
from engine.models.staged import TwoStages
from engine.predict.ensemble import Ensemble, Picked

SCHEMA = 1
PROGRAM, ONNX = "ensemble.pt2", "ensemble.onnx"
ASIDE = ".sonotune-"


class Plain(nn.Module):
    """The ensemble with only the outputs that it has, as programs expect them."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in self.ensemble(images) if part is not None)


@dataclass(frozen=True)
class Exported:
    files: tuple[Path, ...]
    outputs: tuple[str, ...]


def export(picked: Picked, to: Path) -> Exported:
    """Into an empty folder: files of two exports do not mix. One that is cut off, or lacks a package, leaves
    nothing there that looks whole and would be in the way of the next."""
    with writing(to):
        if to.exists() and any(not path.name.startswith(ASIDE) for path in to.iterdir()):
            raise SonotuneError(f"{to} is not empty; export into a new folder")
        _check_packages()
        to.mkdir(parents=True, exist_ok=True)
        for left in to.iterdir():
            shutil.rmtree(left)
        with TemporaryDirectory(prefix=ASIDE, dir=to) as aside:
            outputs = _export(picked, Path(aside))
            for path in Path(aside).iterdir():
                path.rename(to / path.name)
        return Exported(tuple(sorted(path for path in to.rglob("*") if path.is_file())), outputs)


def _check_packages() -> None:
    """Before anything is written."""
    try:
        import onnxscript  # noqa: F401 - torch writes ONNX with it
    except ImportError as error:
        raise SonotuneError(
            "ONNX needs two packages more; install them: pip install onnx onnxscript"
        ) from error


def _export(picked: Picked, to: Path) -> tuple[str, ...]:
    (to / "weights").mkdir()
    for name, member in zip(picked.ensemble.names, picked.ensemble.ordered, strict=True):
        for part, network in parts_of(member.network).items():
            torch.save(network.state_dict(), to / "weights" / f"{name}{part}.pt")
    example = _example(picked)
    outputs = _outputs(picked.ensemble, example)
    _write_program(picked.ensemble, example, outputs, to)
    text = json.dumps(describe(picked, outputs), indent=1) + "\n"
    (to / "spec.json").write_text(text, encoding="utf-8")
    return outputs


def parts_of(network: nn.Module) -> dict[str, nn.Module]:
    """A network as its model's builder makes it; of two stages each by itself."""
    if not isinstance(network, TwoStages):
        return {"": network}
    return {".segment": network.segmenter, ".classify": network.classifier.network}


def describe(picked: Picked, outputs: tuple[str, ...]) -> dict[str, Any]:
    """All that it takes to feed the networks and to read what they say."""
    scales = {
        name: {"mean": member.mean.flatten().tolist(), "deviation": member.deviation.flatten().tolist()}
        for name, member in zip(picked.ensemble.names, picked.ensemble.ordered, strict=True)
    }
    return {
        "schema": SCHEMA,
        "sonotune": __version__,
        "config_id": picked.config_id,
        "configuration": picked.configuration.record(),
        "classes": list(picked.data.classes),
        "input": {
            "shape": ["batch", picked.input.channels, picked.data.size, picked.data.size],
            "aspect": picked.data.aspect,
            "preprocess": picked.input.model_dump(mode="json"),
        },
        "outputs": list(outputs),
        "members": scales,
    }


def _example(picked: Picked) -> Tensor:
    """Two images, as a batch of one would be taken for a constant."""
    shape = (2, picked.input.channels, picked.data.size, picked.data.size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _outputs(ensemble: Ensemble, example: Tensor) -> tuple[str, ...]:
    with torch.no_grad():
        said = ensemble(example)
    return tuple(name for name in said._fields if getattr(said, name) is not None)


def _write_program(ensemble: Ensemble, example: Tensor, outputs: tuple[str, ...], to: Path) -> None:
    batch = {0: torch.export.Dim("batch", min=1)}
    with torch.no_grad(), _quiet():
        program = torch.export.export(Plain(ensemble).eval(), (example,), dynamic_shapes=(batch,))
        torch.export.save(program, to / PROGRAM)
        onnx = torch.onnx.export(program, input_names=["images"], output_names=list(outputs), verbose=False)
        assert onnx is not None
        onnx.save(to / ONNX)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells of its own insides and of packages that nothing here needs."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
