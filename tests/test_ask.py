"""What is asked of a machine before the first fold, and that nothing of the question stays there."""

import os
from collections.abc import Iterator

import pytest
import ray

from engine.driver import launch
from engine.driver.ask import answer
from engine.driver.cluster import connected
from engine.driver.resources import Share
from engine.errors import SonotuneError
from engine.lock.holder import start_time
from engine.spec.resources import Resources
from tests.faulty import wait_until


@pytest.fixture(scope="module")
def gpu() -> Iterator[None]:
    """One that is only declared."""
    with connected(None, 1, 1):
        yield


@pytest.mark.parametrize("share", [1, 0])
def test_who_was_asked_takes_nothing_of_a_gpu_with_it_into_the_search(gpu: None, share: float) -> None:
    """As a process that stays keeps what torch has reserved, beside folds that share all of the GPU; torch
    sees one also where Ray gives none."""
    asked = answer(lambda about: os.getpid(), "", share, {})
    wait_until(lambda: start_time(asked) is None, 20)
    assert start_time(asked) is None


def test_who_is_asked_stands_where_folds_will_train(gpu: None) -> None:
    wanted = {"node:__internal_head__": 0.001}
    given = answer(lambda about: ray.get_runtime_context().get_assigned_resources(), "", 1, wanted)
    assert given == {"GPU": 1.0} | wanted


def test_an_answer_that_fails_is_one_sentence(gpu: None) -> None:

    def fails(about: str) -> None:
        raise MemoryError(about)

    with pytest.raises(SonotuneError, match=r"\Ano room\Z"):
        answer(fails, "no room", 1, {})
    with pytest.raises(SonotuneError, match="the worker that was asked before the first fold is lost"):
        answer(lambda code: os._exit(code), 1, 1, {})


@pytest.mark.parametrize(
    ("settings", "gpu_of_one", "question"),
    [({"gpu": 0}, 0, "on_cpu"), ({}, 0, "on_cpu"), ({}, 0.5, "resolve"), ({"device": "cuda"}, 0, "resolve")],
)
def test_folds_without_a_gpu_train_on_the_cpu_also_where_there_is_one(
    settings: dict[str, object], gpu_of_one: float, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray hides no GPU from a worker that asks for none, so that torch would see them all."""
    monkeypatch.setattr(launch, "answer", lambda asked, *rest: asked.__name__)
    share = Share(1, gpu_of_one, {})
    assert launch._numerics(Resources(**settings), share, "auto") == question
