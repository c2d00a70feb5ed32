"""What is handed to other programs: Ray's launcher, KubeRay, Docker and the shell read it as it is meant."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from jsonschema import ValidationError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


def launcher(text: str | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text or (ROOT / "cluster.yaml").read_text())
    return loaded


def test_rays_launcher_accepts_the_cluster_file() -> None:
    config = prepare_config(launcher())
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]
    broken = {name: value for name, value in config.items() if name != "available_node_types"}
    with pytest.raises(ValidationError):
        validate_config(broken | {"unheard_of": 1})


@pytest.mark.parametrize("provider", ["gcp", "local"])
def test_rays_launcher_accepts_the_commented_providers(provider: str) -> None:
    """Uncommented by a script as by a reader: the `provider:` block takes the place of the one for AWS."""
    text = (ROOT / "cluster.yaml").read_text()
    blocks = re.findall(r"^# provider:\n(?:#   .*\n)+", text, flags=re.MULTILINE)
    (block,) = (b for b in blocks if f"type: {provider}" in b)
    config = launcher() | launcher(re.sub(r"^# ", "", block, flags=re.MULTILINE))
    if provider == "local":
        del config["available_node_types"], config["head_node_type"]
        config["max_workers"] = 2
    validate_config(prepare_config(config))
    assert config["provider"]["type"] == provider


def test_the_cluster_installs_this_project_on_spot_workers() -> None:
    config = launcher()
    worker = config["available_node_types"]["gpu_worker"]
    assert any("make setup" in command for command in config["setup_commands"])
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["min_workers"] == 0
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_is_started_with_its_token_authentication(commands: str) -> None:
    config = launcher()
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    (start,) = (command for command in config[commands] if "ray start" in command)
    assert start.startswith("export RAY_AUTH_MODE=token;")


def test_nothing_turns_the_token_off() -> None:
    places = [*ROOT.glob("*.yaml"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.yaml"), ROOT / "Dockerfile"]
    places += ROOT.glob("engine/**/*.py")
    off = re.compile(r"RAY_AUTH_MODE[\"']?\s*[=:]\s*[\"']?disabled|mode: disabled")
    assert [path.name for path in places if off.search(path.read_text())] == []


# The fields that the manifest uses, under their names in KubeRay 1.6; another name fails here.
# https://docs.ray.io/en/master/cluster/kubernetes/references/api.html for KubeRay's own,
# https://kubernetes.io/docs/reference/kubernetes-api/ for pods and quantities.
Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(m|[KMGT]i?)?$")]


class Kube(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Port(Kube):
    containerPort: Annotated[int, Field(ge=1, le=65535)]
    name: Annotated[str, StringConstraints(max_length=15, pattern=r"^[a-z0-9-]+$")]


class Amounts(Kube):
    requests: dict[str, Quantity]
    limits: dict[str, Quantity]


class Mount(Kube):
    name: str
    mountPath: str
    readOnly: bool = False


class Container(Kube):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    image: str
    ports: list[Port] = []
    resources: Amounts
    envFrom: list[dict[Literal["secretRef", "configMapRef"], dict[str, str]]] = []
    volumeMounts: list[Mount] = []


class Claim(Kube):
    claimName: str


class EmptyDir(Kube):
    medium: Literal["", "Memory"]
    sizeLimit: Quantity


class Volume(Kube):
    name: str
    persistentVolumeClaim: Claim | None = None
    emptyDir: EmptyDir | None = None


class Toleration(Kube):
    key: str
    operator: Literal["Exists", "Equal"]
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class PodSpec(Kube):
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] = []
    tolerations: list[Toleration] = []


class PodTemplate(Kube):
    spec: PodSpec


class HeadGroupSpec(Kube):
    rayStartParams: dict[str, str]
    template: PodTemplate


class WorkerGroupSpec(HeadGroupSpec):
    groupName: str
    replicas: Annotated[int, Field(ge=0)]
    minReplicas: Annotated[int, Field(ge=0)]
    maxReplicas: Annotated[int, Field(ge=1)]


class AuthOptions(Kube):
    mode: Literal["disabled", "token"]


class AutoscalerOptions(Kube):
    idleTimeoutSeconds: int
    upscalingMode: Literal["Default", "Aggressive", "Conservative"]


class RayClusterSpec(Kube):
    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    headGroupSpec: HeadGroupSpec
    workerGroupSpecs: list[WorkerGroupSpec]


class RayJobSpec(Kube):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    backoffLimit: Annotated[int, Field(ge=0)]
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: Annotated[int, Field(ge=0)]
    rayClusterSpec: RayClusterSpec


class RayJob(Kube):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: dict[str, str]
    spec: RayJobSpec


def manifest() -> RayJob:
    return RayJob.model_validate(yaml.safe_load((ROOT / "docs" / "kuberay.yaml").read_text()))


def test_the_kuberay_manifest_has_the_fields_of_a_rayjob() -> None:
    cluster = manifest().spec.rayClusterSpec
    assert cluster.authOptions.mode == "token"
    assert cluster.headGroupSpec.rayStartParams["num-cpus"] == "0"
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert cluster.rayVersion == pins["ray"]


def test_each_mount_of_the_manifest_has_its_volume_and_gpus_are_asked_for() -> None:
    cluster = manifest().spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        volumes = {volume.name for volume in group.template.spec.volumes}
        assert {m.name for c in group.template.spec.containers for m in c.volumeMounts} <= volumes
    limits = cluster.workerGroupSpecs[0].template.spec.containers[0].resources.limits
    assert limits["nvidia.com/gpu"] == "1"


def commands_in(text: str) -> list[str]:
    """`sonotune …` lines of a page, continued ones joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return re.findall(r"sonotune (?:search|resume|doctor)[^\n`'|&]*", joined)


PAGES = ["docs/cluster.md", "docs/storage.md", "docs/kuberay.yaml"]


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_pages_exist(page: str) -> None:
    from engine.cli.app import app

    def options(command: str) -> set[str]:
        from typer.main import get_command

        found = get_command(app).commands[command]  # type: ignore[attr-defined]
        return {name for parameter in found.params for name in parameter.opts}

    commands = commands_in((ROOT / page).read_text())
    assert commands
    for command in commands:
        name = command.split()[1]
        assert set(re.findall(r"(?<!\S)--[a-z-]+", command)) <= options(name), command


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_image_has_what_the_project_pins_and_nothing_else_of_the_checkout() -> None:
    text = (ROOT / "Dockerfile").read_text()
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert f'TORCH="torch=={pins["torch"]}"' in text
    assert all("--constraint constraints.txt" in line for line in text.splitlines() if "pip install" in line)
    copied = {word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert copied == kept
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(built["packages"]) <= copied


def test_the_slurm_script_is_a_shell_script_that_turns_the_token_on() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    lines = page[page.index("    #!/bin/bash") :].splitlines()
    script = "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert script.index("RAY_AUTH_MODE=token") < script.index("ray start --head")
