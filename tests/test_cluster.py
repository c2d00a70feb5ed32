"""cluster.yaml is what Ray's own launcher accepts."""

from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


def test_rays_launcher_accepts_the_cluster_file() -> None:
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]
    broken = {name: value for name, value in config.items() if name != "available_node_types"}
    with pytest.raises(ValidationError):
        validate_config(broken | {"unheard_of": 1})


def test_the_cluster_installs_this_project_on_spot_workers() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    worker = config["available_node_types"]["gpu_worker"]
    assert any("make setup" in command for command in config["setup_commands"])
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["min_workers"] == 0
