"""A network's start enters a result's address by what is in its file, not by the file's name alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from engine.data.cases import Pack
from engine.data.load import load
from engine.driver.launch import search
from engine.errors import SonotuneError
from engine.folds.make import make_folds
from engine.models import registry
from engine.models.alexnet import AlexNet
from engine.preflight import check_study
from engine.spec.load import study_of
from engine.spec.study import Study
from engine.task import Task
from engine.training.job import Job, make_job
from engine.training.numerics import Numerics
from engine.training.weight_files import check, check_places, digests, paths_in


def study(**sections: Any) -> Study:
    data = {"data": {"source": "phantom", "count": 24, "size": 32}, "folds": {"k": 2}}
    return study_of({"study": "weights", **data, **sections}, "test")


def job(of: Study, pack: Pack, **model: Any) -> Job:
    fold = make_folds(pack, of.fixed.folds).folds[0]
    configuration = of.configuration(of.space.base(model))
    task, numerics = Task(configuration.config_id, fold.name), Numerics("cpu", "off", 1)
    return make_job(task, configuration, fold, pack, of.fixed.folds, 0, numerics, (), "best", digests(of))


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return load(study().fixed.data, tmp_path / "cache")


def test_another_file_of_the_same_name_gives_another_address(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    spec = study(model={"name": "acsnet", "weights": str(path)})
    path.write_bytes(b"one")
    first = job(spec, pack).address
    assert job(spec, pack).address == first
    path.write_bytes(b"two")
    second = job(spec, pack)
    assert second.address != first
    assert second.task.key == job(spec, pack).task.key


def test_addresses_of_networks_that_start_from_no_file_do_not_change(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    spec = study(model={"name": "acsnet", "weights": {"choice": ["none", "imagenet", str(path)]}})
    before = [job(spec, pack, **{"model.weights": start}).address for start in ("none", "imagenet")]
    path.write_bytes(b"one")
    assert [job(spec, pack, **{"model.weights": start}).address for start in ("none", "imagenet")] == before


def test_every_file_of_the_space_is_found_wherever_it_stands(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a", "b", "c", "d")]
    for name in names[:3]:
        Path(name).write_text(name)
    spec = study(
        model={"name": "acsnet", "weights": {"choice": ["none", names[0], names[3]]}},
        loss={"gamma": {"choice": [0.0, 0.5]}, "lossnet": {"weights": names[1]}},
        variants={"one": None, "two": {"model": {"name": "alexnet", "weights": names[2]}}},
    )
    assert set(digests(spec)) == set(names[:3])


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    network = {"name": "alexnet", "width": 4}
    torch.save(AlexNet(1, 3, width=4).state_dict(), tmp_path / "alexnet.pth")
    spec = study(model=network | {"weights": "~/alexnet.pth"})
    assert set(digests(spec)) == {"~/alexnet.pth"}
    registry.build(spec.configuration({}).model, 1, 3, 64)


def test_a_file_of_another_network_is_refused_for_the_feature_loss_too(pack: Pack, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    loss = {"gamma": {"uniform": [0.0, 0.5]}, "lossnet": {"weights": str(tmp_path / "other.pth")}}
    spec = study(model={"name": "unet_mtl", "width": 4, "depth": 3}, loss=loss)
    with pytest.raises(SonotuneError, match=r"loss\.lossnet\.weights=.* do not fit vgg16"):
        check_study(spec, pack)


def test_both_of_two_stages_are_looked_into() -> None:
    record = {"model": {"two_stage": {"segment": {"weights": "a"}, "classify": {"weights": "b"}}}}
    assert list(paths_in(record | {"loss": {"class_weights": "balanced"}})) == ["a", "b"]


def test_a_run_does_not_go_on_with_another_file(tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    path.write_bytes(b"one")
    spec = study(model={"name": "acsnet", "weights": str(path)})
    known = digests(spec)
    check(known, spec)
    path.write_bytes(b"two")
    with pytest.raises(SonotuneError, match="another file than when this run began"):
        check(known, spec)
    check({}, spec)  # a run that began before files were looked into
    path.unlink()
    check(known, spec)


def test_a_file_that_the_nodes_of_a_cluster_would_not_find_is_refused(tmp_path: Path) -> None:
    """Before anything else is looked for: there is neither the file nor a cluster."""
    relative, absolute = (
        study(model={"name": "acsnet", "weights": w}) for w in ("start.pth", "/nfs/start.pth")
    )
    for spec, address in ((relative, None), (absolute, "auto")):
        check_places(spec, address)
    with pytest.raises(
        SonotuneError, match=r"weights: start\.pth would .* with --address it must be an absolute"
    ):
        search(relative, str(tmp_path / "run"), Console(), "auto")
    assert not (tmp_path / "run").exists()
