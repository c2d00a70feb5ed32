"""What is decided of a fold that did not end by itself, and when: the rules, fed with numbers."""

import errno
import os
import threading
from pathlib import Path

import pytest

from engine.data.load import load
from engine.driver.faults import (
    DIED_STARTING,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Diet,
    Faults,
    Verdict,
    kind_of,
    shared,
)
from engine.driver.growth import LOOK_EVERY, Slots
from engine.driver.mend import inspection
from engine.driver.pauses import Pauses
from engine.driver.resources import Share
from engine.driver.store import LateRooms, check_room
from engine.driver.watch import Watch
from engine.errors import SonotuneError, StorageError
from engine.spec.load import study_of
from engine.spec.resources import Resources
from engine.storage import LocalStorage
from engine.task import Task
from tests.faulty import document

A, B = Task("a", "r0-f0"), Task("a", "r0-f1")


def test_pauses_double_and_end_in_giving_up() -> None:
    faults = Faults()
    verdicts = [faults.lost(A, retries=3) for _ in range(4)]
    assert [v.pause for v in verdicts[:3]] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert verdicts[3].act == "give up"
    assert max(faults.lost(B, retries=99).pause for _ in range(20)) == LONGEST_PAUSE


def test_a_worker_lost_after_progress_uses_up_no_retry() -> None:
    faults = Faults()
    assert {faults.lost(A, retries=1, progressed=True).act for _ in range(50)} == {"retry"}
    assert faults.lost(A, retries=1).act == "retry"
    assert faults.lost(A, retries=1, progressed=True).act == "retry"
    assert faults.lost(A, retries=1).act == "retry"
    assert faults.lost(A, retries=1).act == "give up"


def test_the_same_error_on_two_folds_breaks_the_configuration() -> None:
    faults = Faults()
    assert faults.error(A, "ValueError at x:1", 5, "text").act == "retry"
    assert faults.error(B, "ValueError at x:1", 5, "text").act == "give up"
    assert faults.broken == {"a": "text"}


@pytest.mark.parametrize(("retries", "acts"), [(0, ["give up"]), (5, ["retry", "give up"])])
def test_an_error_on_one_fold_is_tried_once_more_at_most(retries: int, acts: list[str]) -> None:
    faults = Faults()
    assert [faults.error(A, "ValueError at x:1", retries).act for _ in acts] == acts
    assert faults.broken == {}


def test_errors_that_differ_are_not_one_error() -> None:
    faults = Faults()
    tasks = [A, B, *(Task(f"c{number}", "r0-f0") for number in range(9))]
    assert {faults.error(task, f"ValueError at x:{n}", 5).act for n, task in enumerate(tasks)} == {"retry"}


def test_what_is_complete_elsewhere_heals_no_error_of_a_fold() -> None:
    faults = Faults()
    faults.error(A, "ValueError at x:1", 5)
    for other in (B, Task("b", A.fold)):
        faults.healed(other)
    assert faults.error(B, "ValueError at x:1", 5).act == "give up"


def test_errors_that_a_retry_healed_stop_no_study() -> None:
    faults = Faults()
    for number in range(20):
        task = Task(f"c{number}", "r0-f0")
        assert faults.error(task, "RuntimeError at x:1", 5).act == "retry"
        faults.healed(task)
    assert faults.broken == {}
    verdicts = [
        faults.error(Task(f"d{number}", "r0-f0"), "RuntimeError at x:1", 5).act for number in range(5)
    ]
    assert verdicts == ["retry"] * 4 + ["stop the study"]


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("the worker was lost: killed, as its node was running low on memory", Diet(parts=2)),
        ("the worker was lost: the actor died: its node is gone", Diet()),
    ],
)
def test_the_last_words_of_a_worker_tell_what_it_died_of(said: str, after: Diet) -> None:
    faults = Faults()
    assert faults.gone(A, said, retries=1, progressed=False, shared=True).act == "retry"
    assert faults.diet(A) == after
    assert faults.tries[A] == (after == Diet())


def test_a_worker_that_does_not_start_on_two_folds_is_the_configurations_error() -> None:
    faults = Faults()
    said = [f"worker {pid} was lost: {DIED_STARTING}\nImportError: no such thing\n" for pid in (17, 18)]
    acts = [
        faults.gone(task, words, 3, progressed=False, shared=True).act
        for task, words in zip((A, B), said, strict=True)
    ]
    assert acts == ["retry", "give up"]
    assert faults.broken == {"a": said[1]}


def test_memory_is_saved_by_halves_then_by_being_alone() -> None:
    faults = Faults()
    assert faults.memory(A, shared=True) == Verdict("retry")
    assert faults.diet(A) == Diet(parts=2)
    assert faults.memory(A, shared=True) == Verdict("retry alone")
    assert faults.diet(A) == Diet(parts=2, alone=True)
    assert [faults.alone([A, B]), faults.alone([B])] == [True, False]
    assert faults.memory(A, shared=True) == Verdict("give up")
    assert [faults.memory(B, shared=False).act for _ in range(2)] == ["retry", "give up"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "memory",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "error"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
        (StorageError("cannot write x: there is no room left; make room, then resume"), "storage"),
        (SonotuneError("this model runs out of memory of its own words"), "error"),
    ],
)
def test_errors_are_told_apart(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize(
    ("slots", "gpu", "expected"),
    [(1, 0, False), (1, 1, False), (2, 1, True), (1, 0.5, True), (0, 0.25, True)],
)
def test_also_the_only_fold_would_have_more_of_a_gpu_than_its_part(
    slots: int, gpu: float, expected: bool
) -> None:
    assert shared(slots, gpu) is expected


def test_a_pause_ends_by_its_clock_and_a_lone_fold_waits_for_the_others() -> None:
    clock = iter([0.0, 1.0, 3.0])
    pauses = Pauses(lambda: next(clock))
    pauses.hold(A, 2.0, {"held": 1.0})
    pauses.hold_until_idle(B, {})
    assert pauses.over() == []
    assert pauses.over() == [(A, {"held": 1.0})]
    assert pauses.next_alone() == (B, {})
    assert pauses.next_alone() is None
    assert A not in pauses


def test_silence_is_counted_from_the_last_word() -> None:
    clock = iter([0.0, 0.0, 5.0, 7.0, 8.0])
    watch = Watch(lambda: next(clock))
    assert watch.silence("t") == 0.0
    watch.hear("t")
    assert watch.silence("t") == 2.0


def test_the_smallest_object_store_must_hold_the_data(tmp_path: Path) -> None:
    pack = load(study_of(document(), "test").fixed.data, tmp_path)
    node = {"NodeManagerHostname": "n1", "Alive": True, "Resources": {"object_store_memory": 1000.0}}
    with pytest.raises(SonotuneError, match="object store on n1 holds 0 MiB; start Ray there"):
        check_room(pack, [node])
    check_room(pack, [node | {"Alive": False}])


def test_a_node_that_comes_late_with_too_small_an_object_store_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack = load(study_of(document(), "test").fixed.data, tmp_path)
    large = {"CPU": 1.0, "node:10.0.0.1": 1.0, "object_store_memory": 2.0**30}
    small = large | {"object_store_memory": 1000.0}
    late = [{k.replace("0.0.1", n): v for k, v in small.items()} for n in ("0.0.2", "0.0.3")]
    clock, there = [0.0], [large]
    steps = [large], [large, late[0]], [large, *late], [large, *late]
    slots = Slots(Resources(), Share(1, 0, {}), None, lambda: there, lambda: clock[0], LateRooms(pack).look)
    for there in steps:  # noqa: B007 - read by the lambda
        clock[0] += LOOK_EVERY
        slots()
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" holds")[0] for text in told] == [f"the object store on 10.0.0.{n}" for n in (2, 3)]
    assert "--object-store-memory" in told[0]


def test_results_are_looked_through_while_others_are_trained(tmp_path: Path) -> None:
    looking = threading.Event()

    def sound(task: Task) -> bool:
        return looking.wait(60) and task != B

    with inspection(lambda: [A, B], sound, LocalStorage(tmp_path)) as results:
        assert results.damaged() == []
        looking.set()
        assert results.damaged(wait=True) == [B]
        assert results.damaged(wait=True) == []


def test_a_store_that_cannot_be_read_is_no_damage(tmp_path: Path) -> None:
    def sound(task: Task) -> bool:
        raise StorageError(f"cannot read {task.folder}")

    with (
        inspection(lambda: [A], sound, LocalStorage(tmp_path)) as results,
        pytest.raises(StorageError, match="cannot read"),
    ):
        results.damaged(wait=True)


def test_a_fold_that_needs_to_be_alone_stays_so_when_its_worker_is_lost() -> None:
    faults = Faults()
    for _ in range(2):
        faults.memory(A, shared=True)
    assert faults.lost(A, retries=2).act == "retry alone"
    assert faults.lost(A, retries=2, progressed=True).act == "retry alone"
    assert faults.lost(B, retries=2).act == "retry"
