"""The one table of models: what there is, what a configuration means, and how it is built.

A new system adds a file with `ROWS` under `rows/` and its name to `FILES`; nothing else here changes.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.errors import SonotuneError
from engine.losses.check import Traits
from engine.models.row import CLASSIFY, Backbone, Row
from engine.models.rows.backbones import BACKBONES as BACKBONE_ROWS
from engine.spec.model import Model

if TYPE_CHECKING:
    from torch import nn

FILES = ("own", "mtl_oca", "refining", "acsnet", "peers", "two_stage")
COMMON = ("name", "dropout")  # fields that every system has


def table(rows: Iterable[Any]) -> Mapping[str, Any]:
    """By name; two rows of one name are a mistake of ours, never a silent override."""
    found: dict[str, Any] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"two rows are named {row.name!r}: {found[row.name].build} and {row.build}")
        found[row.name] = row
    return found


MODELS: Mapping[str, Row] = table(
    row for file in FILES for row in import_module(f"engine.models.rows.{file}").ROWS
)
BACKBONES: Mapping[str, Backbone] = table(BACKBONE_ROWS)


def find(name: str) -> Row:
    if name not in MODELS:
        raise SonotuneError(f"there is no model {name!r}; the models are {', '.join(sorted(MODELS))}")
    return MODELS[name]


def resolve(model: Model) -> Model:
    """The same configuration with every field that the system reads filled in, or an error."""
    row = find(model.name)
    given = {k: v for k, v in model if v != Model.model_fields[k].default and k not in COMMON}
    backbone = _backbone(row, given)
    defaults = {**(backbone.defaults if backbone else {}), **row.defaults}
    choices = {**(backbone.choices if backbone else {}), **row.choices}
    _refuse_foreign(row, given, defaults)
    chosen = model.model_copy(update={k: v for k, v in defaults.items() if k not in given})
    _refuse_values(row, chosen, choices)
    _refuse_width(row, backbone, chosen)
    _refuse_combinations(chosen)
    return chosen


def stride(model: Model) -> int:
    """What the image size must be divisible by."""
    row, chosen = find(model.name), resolve(model)
    return row.stride or 2 ** (chosen.depth or 0)


def check(model: Model, size: int) -> Model:
    """`resolve`, and the image size fits: the deepest map keeps at least 2 x 2 pixels to normalise."""
    chosen, step = resolve(model), stride(model)
    if chosen.weights == "imagenet" and chosen.norm not in (None, "batch"):
        raise SonotuneError(
            f"weights='imagenet' with norm={chosen.norm!r} in {model.name}: the public weights belong to "
            "batch normalisation; set model.norm: batch, or model.weights: none"
        )
    depth = "" if chosen.depth is None else f" with model.depth={chosen.depth}"
    if size % step:
        near = max(2, round(size / step)) * step
        other = ", or another model.depth" * bool(depth)
        raise SonotuneError(
            f"an image size of {size} is not divisible by {step}, the stride of {model.name}{depth}; "
            f"use {near}{other}"
        )
    if size < 2 * step:
        smaller = ", or a smaller model.depth" * bool(depth)
        raise SonotuneError(
            f"an image size of {size} leaves {model.name}{depth} one pixel to look at; "
            f"use at least {2 * step}{smaller}"
        )
    return chosen


def traits(model: Model) -> Traits:
    """What a configured model returns, for the loss and for the checks of a study."""
    row, chosen = find(model.name), resolve(model)
    tasks = chosen.tasks or ()
    segments = "segment" in tasks
    return Traits(
        model.name,
        segments=segments,
        classifies="classify" in tasks,
        deep_supervision=segments and bool(chosen.deep_supervision),
        soft_regions=segments and bool(chosen.oca),
        reconstructs=row.reconstructs,
    )


def small(name: str) -> Model:
    """The form of a model that tests train: under 300,000 parameters."""
    return Model(name=name, **find(name).small)


def build(model: Model, channels: int, classes: int, size: int) -> "nn.Module":
    """A network whose forward(x: [B, channels, size, size]) returns a `Prediction`."""
    chosen = check(model, size)
    return load(find(model.name).build)(chosen, channels, classes, size)


def load(address: str) -> Any:
    module, function = address.split(":")
    return getattr(import_module(module), function)


def _backbone(row: Row, given: Mapping[str, Any]) -> Backbone | None:
    if "backbone" not in row.defaults:
        return None
    return BACKBONES[given.get("backbone", row.defaults["backbone"])]


def _refuse_foreign(row: Row, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for field, value in given.items():
        if field not in known:
            owners = sorted(r.name for r in MODELS.values() if field in r.defaults)
            other = f" or use one of {', '.join(owners)}" if owners else ""
            raise SonotuneError(f"model.{field}={value}: {row.name} has no {field}; leave it out{other}")


def _refuse_values(row: Row, chosen: Model, choices: Mapping[str, Any]) -> None:
    for field, allowed in choices.items():
        value = getattr(chosen, field)
        if value not in allowed:
            names = ", ".join(_text(v) for v in allowed)
            raise SonotuneError(f"model.{field}={_text(value)}: {row.name} takes {names}")


def _refuse_width(row: Row, backbone: Backbone | None, chosen: Model) -> None:
    multiple = max(row.width_multiple, backbone.width_multiple if backbone else 1)
    if chosen.width and chosen.width % multiple:
        raise SonotuneError(f"model.width={chosen.width}: {row.name} takes multiples of {multiple}")


def _refuse_combinations(chosen: Model) -> None:
    if chosen.tasks == CLASSIFY and chosen.deep_supervision:
        raise SonotuneError(
            f"model.deep_supervision=True with model.tasks=[classify]: {chosen.name} then has no masks; "
            "leave one of them out"
        )
    if chosen.deep_supervision and chosen.depth == 1:
        raise SonotuneError(
            f"model.deep_supervision=True with model.depth=1: {chosen.name} then has one level of masks; "
            "use a depth of at least 2"
        )
    if chosen.oca is False and chosen.head == "refined-features":
        raise SonotuneError(
            "model.head=refined-features with model.oca=False: no object context, no refined map; "
            "use head: backbone-features"
        )


def _text(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
