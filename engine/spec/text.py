"""Reads YAML safely and exactly: no tags, no duplicate keys, no bombs, and 1e-3 is a number.

PyYAML follows YAML 1.1, where `1e-3` is a string and `off` is false; a hyperparameter file needs the
1.2 reading of both, so the loader below keeps only the 1.2 scalars.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from engine.errors import SonotuneError

MAX_BYTES = 1_000_000
MAX_NODES = 50_000

SCALARS = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:null|Null|NULL|~|)$"), ["n", "N", "~", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own protocol


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that either reading takes for something else, such as '1e-3'."""


for _tag, _pattern, _first in SCALARS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)), 10)


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"{key!r} is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def parse(text: str, name: str) -> Any:
    if len(text) > MAX_BYTES:
        raise SonotuneError(f"{name} has {len(text)} characters; a search space has at most {MAX_BYTES}")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SonotuneError(f"{name}{where}: {error.problem or error}; mend the YAML there") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SonotuneError(f"{name}: not readable as YAML ({error})") from error
    _refuse_bombs(value, name)
    return value


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file whose top is a mapping."""
    return mapping(_text_of(path), str(path))


def mapping(text: str, name: str) -> dict[str, Any]:
    value = parse(text, name)
    if value is None:
        raise SonotuneError(f"{name} is empty; a search space starts with `study: <name>`")
    if not isinstance(value, dict):
        raise SonotuneError(f"{name} holds a {type(value).__name__}; it must hold a mapping of sections")
    return value


def dump(value: Any) -> str:
    """Text that is read back as the same values, by this loader and by those of YAML 1.1."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _text_of(path: Path) -> str:
    try:
        return _checked_text(path)
    except UnicodeDecodeError as error:
        raise SonotuneError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise SonotuneError(f"{path} cannot be read: {error.strerror}; check its rights") from error


def _checked_text(path: Path) -> str:
    if not path.exists():
        raise SonotuneError(f"there is no file {path}; `sonotune spaces` lists the spaces that come along")
    if not path.is_file():
        raise SonotuneError(f"{path} is not a file; give the path of a search space in YAML")
    if path.stat().st_size > MAX_BYTES:
        raise SonotuneError(f"{path} has {path.stat().st_size} bytes; a search space has at most {MAX_BYTES}")
    return path.read_text(encoding="utf-8")


def _refuse_bombs(value: Any, name: str) -> None:
    """Anchors share nodes, so a small file can stand for billions of them: count as they would be walked."""
    left = MAX_NODES
    stack = [value]
    while stack:
        left -= 1
        if left < 0:
            raise SonotuneError(
                f"{name} unfolds to more than {MAX_NODES} values; its anchors repeat too much"
            )
        node = stack.pop()
        if isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
