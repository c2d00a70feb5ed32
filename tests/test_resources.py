"""How many folds a cluster holds, and what each of them takes: numbers in, numbers out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.driver import packing
from engine.driver import resources as shares
from engine.driver.packing import ALONE, Packed, packed, packed_in
from engine.driver.resources import Node, Share, share
from engine.errors import SonotuneError
from engine.spec.load import study_of
from engine.spec.resources import Resources
from engine.spec.train import Train
from engine.training.memory import CONTEXT, allowed
from engine.training.numerics import BFLOAT16, Numerics, cpu_units, on_cpu, resolve, threads

HEAD: Node = {"CPU": 4.0}
GPUS: Node = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:A100": 1.0}
GIB = 2.0**30


@pytest.mark.parametrize(
    ("wants", "nodes", "count"),
    [
        (Share(1, 0, {}), [{"CPU": 2.0}, {"CPU": 3.0}], 5),
        (Share(2, 0, {}), [{"CPU": 3.0}, {"CPU": 3.0}], 2),  # no fold spans two nodes
        (Share(0.1, 0, {}), [{"CPU": 1.0}], 10),
        (Share(1, 0.4, {}), [GPUS], 4),  # nor two GPUs
        (Share(1, 0.6, {}), [GPUS], 2),
        (Share(1, 1 / 3, {}), [GPUS], 6),
        (Share(1, 2, {}), [GPUS, GPUS], 2),
        (Share(1, 1, {}), [HEAD, GPUS], 2),
        (Share(1, 0, {"accelerator_type:A100": 0.001}), [HEAD, GPUS], 16),
        (Share(1, 0, {"accelerator_type:H100": 0.001}), [HEAD, GPUS], 0),
        (Share(1, 0, {"licence": 1e-5}), [{"CPU": 2.0, "licence": 1.0}], 2),  # less than Ray counts in
        (Share(1, 0, {"licence": 0.19}), [{"CPU": 9.0, "licence": 0.57}], 3),  # floats: 5699.99 units
        (Share(1, 0, {}), [], 0),
    ],
)
def test_slots_are_counted_node_by_node(wants: Share, nodes: list[Node], count: int) -> None:
    assert wants.slots(nodes) == count


@pytest.mark.parametrize(
    ("settings", "nodes", "device", "per_gpu", "cpu", "gpu"),
    [
        ({}, [{"CPU": 4.0}], None, 1, 1.0, 0.0),
        ({"threads": 2}, [{"CPU": 4.0}], None, 1, 2.0, 0.0),
        ({"threads": 8}, [{"CPU": 4.0}], None, 1, 4.0, 0.0),
        ({"threads": 2}, [{"CPU": 1.0}], None, 1, 1.0, 0.0),
        ({"threads": 4}, [{"CPU": 2.0}, HEAD], None, 1, 4.0, 0.0),  # the larger node has them
        ({"threads": 2}, [{"CPU": 0.0}], None, 1, 2.0, 0.0),  # a head that trains nothing itself
        ({}, [{"CPU": 12.0, "GPU": 1.0}], "cuda", 6, 2.0, 0.1666),  # all cores, though the part is rounded
        ({"gpu": 0.4}, [GPUS], None, 1, 4.0, 0.4),  # two share a GPU
        ({"gpu": 2}, [GPUS], None, 1, 16.0, 2.0),
        ({}, [HEAD, GPUS], None, 1, 8.0, 1.0),  # the head's cores are not the GPU nodes'
        ({}, [HEAD, GPUS], "cuda", 3, 2.0, 0.3333),
        ({}, [HEAD, GPUS], "cpu", 1, 1.0, 0.0),
        ({"device": "cpu"}, [GPUS], None, 1, 1.0, 0.0),
        ({"device": "cuda"}, [HEAD], None, 1, 1.0, 1.0),  # GPUs are still to come
        ({"gpu": 0.25, "cpu": 3}, [HEAD], None, 1, 3.0, 0.25),
        ({}, [HEAD], "cuda", 4, 1.0, 0.25),  # a resume before the first GPU is back
    ],
)
def test_a_share_follows_the_nodes_and_the_study(
    settings: dict[str, Any], nodes: list[Node], device: Any, per_gpu: int, cpu: float, gpu: float
) -> None:
    found = share(Resources(**settings), nodes, device, per_gpu)
    assert (found.cpu, found.gpu) == (cpu, gpu)


def test_cores_are_those_of_the_nodes_that_the_custom_resource_names() -> None:
    poor: Node = {"CPU": 2.0, "GPU": 2.0, "accelerator_type:T4": 1.0}
    settings = Resources(custom={"accelerator_type:A100": 0.001})
    assert share(settings, [poor, GPUS]).cpu == 8.0
    assert share(Resources(), [poor, GPUS]).cpu == 1.0


@pytest.mark.parametrize(
    ("settings", "device", "count"),
    [({}, "cpu", 1), ({"cpu": 3}, "cpu", 3), ({"cpu": 0.5}, "cpu", 1), ({"cpu": 8}, "cuda", 1),
     ({"cpu": 3, "threads": 2}, "cpu", 2)],
)  # fmt: skip
def test_threads_follow_the_share(settings: dict[str, Any], device: Any, count: int) -> None:
    assert threads(Resources(**settings), device) == count


@pytest.mark.parametrize(
    ("settings", "cores"),
    [({}, None), ({"workers": 2}, 2), ({"workers": 2, "threads": 3}, 6), ({"workers": 3, "cpu": 0.5}, 2)],
)
def test_a_ray_of_our_own_declares_what_the_folds_asked_for_take(settings: Any, cores: int | None) -> None:
    assert shares.cores(Resources(**settings)) == cores


@pytest.mark.parametrize(
    ("settings", "used", "folds"),
    [
        ({}, 10 * GIB, 6),  # 80 / 12
        ({}, 1 * GIB, 8),  # a core each
        ({}, 79 * GIB, 1),
        ({"workers": 5}, 1 * GIB, 3),  # 5 on 2 GPUs
        ({"cpu": 4}, 1 * GIB, 2),  # of 8 cores
        ({"cpu": 0.25}, 1 * GIB, 8),
        ({"cpu": 32}, 1 * GIB, 1),
    ],
)
def test_as_many_folds_share_a_gpu_as_its_memory_and_cores_hold(
    settings: Any, used: float, folds: int
) -> None:
    found = packed(Resources(**settings), [HEAD, GPUS], used, 80 * GIB)
    assert found.folds == folds
    assert packed_in([{"event": "study"}, Packed(9).record(), found.record()]) == found  # the last counts
    assert Share(1, shares.part_of_gpu(folds), {}).slots([{"CPU": 99.0, "GPU": 1.0}]) == folds


@pytest.mark.parametrize(
    ("device", "settings", "gpu", "asked"),
    [("cuda", {}, 0.5, [1]), ("cuda", {"gpu": 0.5}, 0.5, []), ("cpu", {}, 0.5, []), ("cuda", {}, 0, [])],
)
def test_what_a_fold_takes_is_measured_on_a_whole_gpu_where_sharing_is_left_to_us(
    device: Any, settings: Any, gpu: float, asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[tuple[float, Any]] = []
    there = lambda _, about, gpu, custom: asks.append((gpu, custom)) or (GIB, 8 * GIB)  # noqa: E731
    monkeypatch.setattr(packing, "answer", there)
    study = study_of({"study": "x", "resources": settings}, "test")
    bench: Any = SimpleNamespace(study=study, numerics=Numerics(device, "off", 1))
    custom = {"accelerator_type:A100": 0.001}  # a GPU of another kind has other memory
    found = packing.pack(bench, Share(1, gpu, custom), [GPUS])
    assert asks == [(whole, custom) for whole in asked]
    assert found.folds == (6 if asked else 1)


def test_gpus_on_which_no_fold_may_run_are_not_shared_out() -> None:
    others: Node = {"CPU": 64.0, "GPU": 6.0, "accelerator_type:T4": 1.0}
    settings = Resources(workers=8, custom={"accelerator_type:A100": 0.001})
    assert packed(settings, [others, GPUS], 1 * GIB, 80 * GIB).folds == 4
    assert packed(settings, [others], 1 * GIB, 80 * GIB).folds == 1  # the measured one has gone


def test_a_run_that_measured_nothing_shares_no_gpu() -> None:
    assert packed_in([{"event": "study"}]) == ALONE


@pytest.mark.parametrize("folds", [1, 2, 6, 8, 40])
def test_what_torch_may_take_leaves_room_for_cuda_itself(folds: int) -> None:
    part, total = shares.part_of_gpu(folds), 80 * GIB
    assert folds * (allowed(part, total) * total + CONTEXT) <= total * 1.0001


def test_no_more_folds_run_than_were_asked_for_or_have_room() -> None:
    each = Share(1, 0, {})
    assert [shares.slots(Resources(workers=n), each, [HEAD]) for n in (2, 4, 8)] == [2, 4, 4]


@pytest.mark.parametrize(
    ("settings", "count", "short"),
    [({}, 0, 1), ({}, 3, 0), ({"workers": 8}, 3, 5), ({"workers": 2}, 3, 0)],
)
def test_an_autoscaler_is_told_of_the_folds_that_were_asked_for(
    settings: Any, count: int, short: int
) -> None:
    assert shares.short_of(Resources(**settings), count) == short


def test_no_room_is_said_with_what_there_is() -> None:
    node: Node = {"CPU": 2.0, "memory": 9.0, "object_store_memory": 9.0, "node:127.0.0.1": 1.0}
    error = shares.no_room(Share(4, 0, {}), [node, node])
    assert "asks for CPU 4, no node has that much (CPU 4)" in str(error)
    assert not shares.may_wait(Resources())
    assert not shares.may_wait(Resources(gpu=0))
    assert shares.may_wait(Resources(workers=2))
    assert shares.may_wait(Resources(gpu=0.5))
    assert isinstance(error, SonotuneError)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu amx_bf16 avx512_bf16", "bf16"), ("fpu avx512_bf16", "bf16"), ("fpu avx512f", "off"), ("", "off")],
)
def test_bfloat16_is_chosen_where_a_cpu_multiplies_in_it(
    flags: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: sysret\n")
    found = cpu_units(told)
    assert found == set(flags.split())
    monkeypatch.setattr("engine.training.numerics.cpu_units", lambda: found)
    assert on_cpu(Resources()).auto_precision == precision


def test_a_precision_that_is_asked_for_is_that_of_the_training() -> None:
    numerics = Numerics("cpu", "bf16", 1)
    assert [numerics.precision(Train(precision=p)) for p in ("auto", "off")] == ["bf16", "off"]


def test_the_kernel_and_torch_say_the_same_of_a_cpu(tmp_path: Path) -> None:
    assert cpu_units() & BFLOAT16 == cpu_units(tmp_path / "none") & BFLOAT16
    assert on_cpu(Resources()) == resolve(Resources(device="cpu"))
