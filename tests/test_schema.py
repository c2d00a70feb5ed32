"""The JSON Schema that editors read fits what the loader accepts, and each search space names it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.spec import text
from engine.spec.load import load, study_of
from engine.spec.schema import study_schema

SPACES = Path(__file__).parents[1] / "searchspaces"
YAMLS = sorted(SPACES.glob("*.yaml"))
WRITTEN = SPACES / "schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(WRITTEN.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_written_schema_is_that_of_the_sections() -> None:
    assert WRITTEN.read_text() == json.dumps(study_schema(), indent=1) + "\n", (
        "write it anew: sonotune schema > searchspaces/schema.json"
    )


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_search_space_names_the_schema_and_fits_it(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    found = [f"{e.json_path}: {e.message}" for e in validator.iter_errors(text.read_mapping(path))]
    assert found == []


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_a_search_space_loads_with_each_of_its_profiles(path: Path) -> None:
    profiles = text.read_mapping(path).get("profiles") or {}
    for profile in (None, *profiles):
        assert load(path, profile).space.dimensions or path.stem.startswith("single")


SOUND: list[dict[str, Any]] = [
    {"loss": {"lambda": {"uniform": [0, 1]}}},
    {"loss": {"schedule": {"to": {"choice": [0, 1]}}}},
    {"model": {"width": {"int": [8, 64, 8]}}},
    {"train": {"lr": {"choice": {"slow": 1e-4, "fast": {"loguniform": [1e-3, 1e-2]}}}}},
    {"variants": {"a": None, "b": {"model": {"name": "unet_mtl"}}}},
    {"search": {"first": "paper"}, "paper": {"loss.lambda": 0.5}, "loss": {"lambda": {"uniform": [0, 1]}}},
]
FAULTY: list[dict[str, Any]] = [
    {"lose": {}},
    {"loss": {"lamda": 1}},
    {"loss": {"lambda": 2}},
    {"loss": {"lambda": {"unifrom": [0, 1]}}},
    {"loss": {"lambda": {"uniform": [0]}}},
    {"train": {"optimizer": {"choice": []}}},
    {"folds": {"k": {"int": [2, 5]}}},
    {"variants": {"a": 3}},
]


@pytest.mark.parametrize("sections", SOUND, ids=str)
def test_schema_and_loader_accept(sections: dict[str, Any], validator: Any) -> None:
    assert validator.is_valid({"study": "s", **sections})
    assert study_of({"study": "s", **sections}, "s").name == "s"


@pytest.mark.parametrize("sections", FAULTY, ids=str)
def test_schema_and_loader_refuse(sections: dict[str, Any], validator: Any) -> None:
    assert not validator.is_valid({"study": "s", **sections})
    with pytest.raises(Exception, match="s: "):
        study_of({"study": "s", **sections}, "s")
