"""Asks a machine on which folds will train for what only such a machine knows, before the first of them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import ray

from engine.errors import SonotuneError

About = TypeVar("About")
Answer = TypeVar("Answer")


def answer(
    question: Callable[[About], Answer], about: About, gpu: float, custom: Mapping[str, float]
) -> Answer:
    """By a process that ends with its answer: Ray would keep it for further tasks, and with it all that torch
    has taken of a GPU, beside the folds to whom that memory is promised. Ray knows `max_calls` only of a
    function, not among the options of a call."""
    task: Any = ray.remote(num_cpus=0, num_gpus=gpu, resources=dict(custom), max_calls=1)(question)
    try:
        return ray.get(task.remote(about))  # type: ignore[no-any-return]
    except ray.exceptions.RayTaskError as error:
        raise SonotuneError(str(error.cause)) from error
    except ray.exceptions.RayError as error:
        raise SonotuneError(
            f"the worker that was asked before the first fold is lost ({str(error).splitlines()[0]}); see "
            "whether its node is overloaded: ray status"
        ) from error
