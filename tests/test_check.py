"""`sonotune check`: the smallest, largest and busiest model of a space, a step of each, and the cost."""

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from engine.appetite import appetite, wants
from engine.cli.app import app
from engine.errors import SonotuneError
from engine.models import registry
from engine.preflight import problems_of
from engine.probe import _lasting, _print_projection, chosen, counter, extremes, probe, project
from engine.spec.load import study_of
from engine.spec.model import Model
from engine.spec.study import Study
from engine.training.alone import Bench
from engine.training.evaluate import EVALUATION_BATCH
from engine.training.measure import Costs
from engine.training.network import Network
from engine.training.trial_step import Measured, measure
from engine.words import plural
from tests import layouts

TINY: dict[str, Any] = {
    "study": "tiny",
    "data": {"count": 24, "size": 32},
    "folds": {"k": 2},
    "model": {"name": "unet_mtl", "width": {"choice": [8, 4]}, "depth": {"int": [2, 3]}},
    "train": {"epochs": 2, "batch": {"int": [4, 8]}},
    "search": {"configs": 3, "budget": {"epochs": 100}},
    "resources": {"workers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONOTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def study(**changes: Any) -> Study:
    return study_of(TINY | changes, "tiny")


def test_the_extremes_combine_the_ends_of_all_dimensions() -> None:
    tiny = study()
    small, large = extremes(tiny, counter(Bench.of(tiny)))
    assert (small.model.width, small.model.depth, small.train.batch) == (4, 2, 4)
    assert (large.model.width, large.model.depth, large.train.batch) == (8, 3, 8)


def test_parameters_are_counted_as_the_built_network_has_them() -> None:
    from engine.models.registry import build

    data = {"count": 24, "size": 64}
    tiny = study(data=data, model={"name": "swin_unetr", "width": {"choice": [12, 24]}})
    configuration = tiny.configuration({"model.width": 12, "train.batch": 4})
    built = sum(p.numel() for p in build(configuration.model, 1, 3, 64).parameters())
    assert counter(Bench.of(tiny))(configuration) == (built, 4)


def test_the_extremes_lie_in_different_variants() -> None:
    variants = {
        "slim": {"model": {"width": 2}},
        "wide": {"model": {"width": {"choice": [16, 12]}}},
        "as is": None,
    }
    tiny = study(variants=variants)
    small, large = extremes(tiny, counter(Bench.of(tiny)))
    assert (small.model.width, large.model.width, large.model.depth) == (2, 16, 3)


def test_the_hungriest_is_not_the_one_with_the_most_weights() -> None:
    """Five levels have more weights than two, but a wide map at full resolution takes more memory."""
    sizes = {"deep": {"model": {"width": 8, "depth": 5}}, "wide": {"model": {"width": 32, "depth": 2}}}
    tiny = study(
        variants=sizes | {"small": {"model": {"width": 4, "depth": 2}}}, data={"count": 24, "size": 128}
    )
    bench = Bench.of(tiny)
    assert extremes(tiny, counter(bench))[1].model.depth == 5
    hungriest = extremes(tiny, appetite(bench))[1]
    assert (hungriest.model.width, hungriest.model.depth, hungriest.train.batch) == (32, 2, 8)


@pytest.mark.parametrize("name", ["unet_mtl", "swin_unetr"])
def test_what_a_network_keeps_is_seen_of_one_that_looks_at_values_too(name: str) -> None:
    model = registry.resolve(Model(name=name, width=12))
    weights, image = wants(model, 1, 3, 64)
    assert weights == sum(p.numel() for p in registry.build(model, 1, 3, 64).parameters())
    assert image > 64 * 64 * 4 * 12  # at least one map of that width at full size


def test_a_combination_that_cannot_be_built_is_told() -> None:
    """Each end alone is sound; both together are not."""
    heads = {"choice": ["backbone-features", "refined-features"]}
    oca = {"choice": [True, False]}
    tiny = study(model={"name": "mtl_oca", "width": 4, "depth": 3, "head": heads, "oca": oca})
    with pytest.raises(SonotuneError, match=r"head=refined-features with model.oca=False"):
        extremes(tiny, counter(Bench.of(tiny)))


def test_refinement_of_one_task_is_refused() -> None:
    tiny = study(model={"name": "unet_mtl", "width": 4, "tasks": ["segment"]}, predict={"refine": True})
    (problem,) = set(problems_of(tiny, 32, ("benign", "malignant", "normal")))
    assert "predict.refine: is on, but model 'unet_mtl' has not both tasks" in problem


def measured(epochs: int, step: float) -> Measured:
    configuration = study(train={"epochs": epochs}).configuration({"model.width": 4, "model.depth": 2})
    return Measured(configuration, Costs(latency_ms=100), step, steps=10, validated=5)


def test_the_projection_multiplies_what_was_measured() -> None:
    cost = project(study(), 2, [measured(2, 0.1), measured(4, 0.2)])
    assert (cost.configs, cost.slots) == (3, 1)
    assert cost.fold_epochs == (12, 24)
    assert cost.hours[0] * 3600 == pytest.approx(3 * 2 * 2 * (10 * 0.1 + 5 * 0.1))
    assert cost.hours[1] * 3600 == pytest.approx(3 * 2 * 4 * (10 * 0.2 + 5 * 0.1))


def test_the_outer_folds_of_a_nested_design_cost_a_fold_each() -> None:
    cost = project(study(), 4, [measured(2, 0.1)], finals=2)
    assert cost.fold_epochs == (28, 28)
    assert cost.hours[0] == pytest.approx(project(study(), 4, [measured(2, 0.1)]).hours[0] * 14 / 12)


def test_the_epochs_of_a_first_stage_are_counted() -> None:
    """As a budget of epochs counts them."""
    two = replace(measured(2, 0.1), first_seconds=1.0, first_epochs=3)
    cost = project(study(), 4, [two])
    assert cost.fold_epochs == (60, 60)
    console = Console(record=True, width=200)
    _print_projection(console, study(), cost)
    assert (
        "60 fold-epochs where nothing is stopped early and no first stage is shared" in console.export_text()
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [({"resources": {"cpu": 4096}}, "no node has that much"), ({"tracking": ["wandb"]}, "needs the package")],
)
def test_what_a_search_refuses_of_its_machine_is_refused_before_a_step_is_trained(
    change: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import yaml

    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    monkeypatch.setattr("engine.probe.measure", lambda *_: pytest.fail("a step was trained"))
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | change))
    with pytest.raises(SonotuneError, match=told):
        CliRunner().invoke(app, ["check", str(path)], catch_exceptions=False)


def test_a_small_space_ends_before_its_number_of_configurations() -> None:
    few = study(train={"epochs": 1}, search={"configs": 50})
    assert project(few, 2, [measured(1, 0.1)]).configs == 4


def test_the_command_prints_models_and_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")  # no name loses its end
    Path("tiny.yaml").write_text(yaml.safe_dump(TINY))
    done = CliRunner().invoke(app, ["check", "tiny.yaml"], catch_exceptions=False)
    assert done.exit_code == 0
    for word in ("smallest", "unet_mtl", "largest", "parameters", "MiB", "3 dimensions",
                 "20 configurations; ", "12 fold-epochs where nothing is stopped early", "1 side by side",
                 "the budget may end it earlier: epochs 100"):  # fmt: skip
        assert word in done.output
    assert [p.name for p in Path.cwd().iterdir()] == ["tiny.yaml"]


def test_what_is_noted_of_the_data_set_is_told_before_its_cost(tmp_path: Path) -> None:
    """Masks whose lesion is dark train a network to find all but the lesion."""
    root = layouts.write_busi(tmp_path / "data", layouts.some_pictures(4))
    for path in root.glob("[bm]*/*_mask.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    told = Console(file=StringIO(), soft_wrap=True)
    probe(study(data={"source": "busi", "root": str(root), "size": 32}), told)
    text = told.file.getvalue()  # type: ignore[attr-defined]
    assert "note: 8 files: marks all four corners" in text
    assert "note: separation of patients cannot be proved" in text
    assert text.index("note:") < text.index("smallest")


def test_one_of_anything_is_told_in_the_singular() -> None:
    one = study(
        model={"name": "unet_mtl", "width": {"choice": [4, 8]}}, train={"epochs": 1}, search={"configs": 1}
    )
    console = Console(record=True, width=200)
    _print_projection(console, one, project(one, 2, [measured(1, 0.1)]))
    told = console.export_text()
    assert "tiny: 1 dimension, 2 configurations; every end is sound" in told
    assert "search: 1 configuration × 2 folds × 1 epoch = 2 fold-epochs where nothing" in told


def test_the_time_of_a_small_search_is_told_in_small_units() -> None:
    assert _lasting((0.0005, 0.001)) == "1.8 to 3.6 seconds"
    assert _lasting((0.01, 0.02)) == "0.6 to 1.2 minutes"
    assert _lasting((0.5, 12.0)) == "0.5 to 12 hours"


def test_a_time_has_no_more_digits_than_a_step_tells_and_one_thing_no_plural() -> None:
    assert _lasting((9.87, 1234.5)) == "9.9 to 1,200 hours"
    assert (plural(1, "dimension"), plural(2.0, "dimension")) == ("1 dimension", "2 dimensions")


def test_the_network_with_the_most_operations_is_measured_too() -> None:
    """Five levels have more weights than two, but wide maps at full resolution take longer."""
    sizes = {"deep": {"model": {"width": 8, "depth": 5}}, "wide": {"model": {"width": 32, "depth": 2}}}
    sizes |= {"small": {"model": {"width": 4, "depth": 2}}}
    tiny = study(variants=sizes, data={"count": 24, "size": 64})
    named = {title: one.model.depth for one, title in chosen(Bench.of(tiny)).items()}
    assert named == {"smallest": 2, "largest": 5, "most operations": 2}
    assert list(chosen(Bench.of(study())).values()) == ["smallest", "largest, most operations"]


def test_more_epochs_are_more_operations() -> None:
    tiny = study(train={"epochs": {"choice": [1, 3, 2]}})
    assert [one.train.epochs for one in chosen(Bench.of(tiny))] == [1, 1, 3]


def test_what_a_search_refuses_of_its_sampler_is_not_called_sound(tmp_path: Path) -> None:
    import yaml

    space = TINY | {"search": {"sampler": "grid"}, "loss": {"lambda": {"uniform": [0.1, 0.9]}}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(space))
    with pytest.raises(SonotuneError, match="grid needs dimensions that can be listed"):
        CliRunner().invoke(app, ["check", str(tmp_path / "tiny.yaml")], catch_exceptions=False)


def test_what_is_measured_has_validated_as_many_images_as_an_epoch_may_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step of a small batch takes less memory than its validation does."""
    seen, usual = [], Network.predict

    def predict(network: Network, images: torch.Tensor) -> Any:
        seen.append(len(images))
        return usual(network, images)

    monkeypatch.setattr(Network, "predict", predict)
    step_of(2, EVALUATION_BATCH)
    assert max(seen) == EVALUATION_BATCH


def step_of(batch: int, cases: int) -> Measured:
    document = TINY | {"data": {"count": 2 * cases, "size": 16}, "train": {"batch": batch}}
    bench = Bench.of(study_of(document, "tiny"))
    base = bench.study.configuration(bench.study.space.base({}))
    return measure(bench.job(base, bench.manifest.names[0]), bench.pack)


def test_a_step_after_which_no_answer_is_a_number_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the cost is asked for: that such a rate diverges is for the search to find out."""

    def step(network: Network, batch: Any, epoch: int) -> dict[str, torch.Tensor]:
        for weight in network.model.parameters():
            weight.data.fill_(float("nan"))
        return {"total": torch.tensor(float("nan"))}

    monkeypatch.setattr(Network, "step", step)
    assert step_of(2, 16).step_seconds > 0


def test_of_small_batches_the_network_decides_which_takes_the_most_memory() -> None:
    document = TINY | {"model": {"name": "unet_mtl", "width": {"choice": [4, 8]}, "depth": 2}}
    document |= {"train": {"batch": {"int": [2, 8]}}}
    bench = Bench.of(study_of(document, "tiny"))
    bytes_of = appetite(bench)
    wide = bench.study.configuration({"model.width": 8, "train.batch": 2})
    narrow = bench.study.configuration({"model.width": 4, "train.batch": 8})
    assert bytes_of(wide) > bytes_of(narrow)
