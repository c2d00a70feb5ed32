"""Profiles and `--set`: flat paths laid over a document before anything is validated."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import SonotuneError
from engine.spec import text
from engine.spec.distribution import kind_of
from engine.spec.space import SEARCHABLE, VARIANTS, sets


def apply_overrides(
    document: dict[str, Any], profile: str | None, overrides: Sequence[str]
) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    profiles = changed.pop("profiles", None) or {}
    if not isinstance(profiles, dict) or not all(isinstance(body, dict) for body in profiles.values()):
        raise SonotuneError(
            "profiles: must map each profile's name to flat overrides such as train.epochs: 2"
        )
    settings = [*_profile(profiles, profile), *map(parse_override, overrides)]
    _move_out(changed, dict(settings).get("data.source"))
    for path, value in settings:
        set_path(changed, path, value)
        _refuse_hidden(changed, path)
    return changed


def _move_out(document: dict[str, Any], source: Any) -> None:
    """Of another source, what the space says about the cases of its own one does not hold."""
    data = document.get("data")
    if source is None or not isinstance(data, dict) or data.get("source") == source:
        return
    for name in ("keep", "ids", "groups"):
        data.pop(name, None)


def _refuse_hidden(document: Mapping[str, Any], path: str) -> None:
    """A common leaf that every variant sets itself would be overridden without any effect."""
    variants = document.get(VARIANTS)
    if path.split(".")[0] not in SEARCHABLE or not isinstance(variants, dict) or not variants:
        return
    if all(isinstance(above, dict) and sets(above, path) for above in variants.values()):
        raise SonotuneError(
            f"{path}: every variant sets it itself, so the common value has no effect; "
            f"override {VARIANTS}.*.{path}"
        )


def parse_override(override: str, option: str = "--set", example: str = "loss.lambda=0.7") -> tuple[str, Any]:
    path, equals, value = override.partition("=")
    if not equals or not path.strip():
        raise SonotuneError(f"{option} {override!r}: must be NAME=VALUE, for instance {option} {example}")
    return path.strip(), text.parse(value, f"{option} {path.strip()}")


def set_path(document: dict[str, Any], path: str, value: Any) -> None:
    """`*` stands for every name at its place: `variants.*.model.width`."""
    _set(document, path.split("."), value, path)


def _set(node: dict[str, Any], parts: list[str], value: Any, path: str) -> None:
    head, *rest = parts
    if head == "*" and not node:
        raise SonotuneError(f"{path}: there is nothing that `*` could stand for")
    for name in list(node) if head == "*" else [head]:
        if not rest:
            node[name] = value
            continue
        if node.get(name) is None:
            node[name] = {}
        below = node[name]
        if kind_of(below) and isinstance(below.get("choice"), dict):
            below = below["choice"]
        if not isinstance(below, dict) or kind_of(below):
            raise SonotuneError(f"{path}: {name!r} holds a value, not names; nothing lies below it")
        _set(below, rest, value, path)


def _profile(profiles: Mapping[str, Mapping[str, Any]], name: str | None) -> Iterator[tuple[str, Any]]:
    if name is None:
        return
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise SonotuneError(f"there is no profile {name!r}; this space has: {known}")
    yield from profiles[name].items()
