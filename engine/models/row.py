"""The rows of the two tables of `registry.py`: systems, and the backbones they stand on.

Rows are plain data without torch, so that listing and checking models is instant; `build` names the
function that makes the network, and is imported when a model is first built.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

BOTH = ("segment", "classify")
SEGMENT = ("segment",)
CLASSIFY = ("classify",)

System = Literal["own", "mtl-oca", "refining", "acsnet", "two-stage"]


@dataclass(frozen=True)
class Backbone:
    """`build` makes a module from (model, channels, decodes): x -> Features, see `features.py`."""

    name: str
    build: str  # "module:function"
    about: str
    defaults: Mapping[str, Any]  # width, depth, norm
    choices: Mapping[str, Container[Any]] = field(default_factory=dict)
    width_multiple: int = 1
    small: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """`build` makes a module from (model, channels, classes, size), `model` with no field left open.

    `defaults` holds the system's own choice for every field that it reads; a field that is not there and not
    the backbone's is refused when set. `choices` narrows the values; `small` makes a form for tests.
    """

    name: str
    build: str  # "module:function"
    system: System
    about: str
    defaults: Mapping[str, Any]
    choices: Mapping[str, Container[Any]] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    cam: str = "classifier.seen"  # the submodule whose output Grad-CAM reads
    stride: int | None = None  # None: 2 ** depth
    width_multiple: int = 1
    reconstructs: bool = False  # aux["reconstruction"]: [B, channels, H, W]
