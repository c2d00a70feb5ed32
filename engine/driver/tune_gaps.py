"""Where Ray Tune 2.60 does not do what a search of many short folds on machines that come and go needs."""

from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial


def close_gaps(controller: Any) -> None:
    """`controller` is Tune's own, of one experiment."""
    _let_actors_start(controller)
    _survive_every_loss(controller._actor_manager)


def _let_actors_start(controller: Any) -> None:
    """Tune gives a free warm worker to the trial that waits for a worker of its own, and throws that one
    away while it starts; with folds shorter than a start, one slot would do all the work. Here the
    waiting trial keeps its own, and the free worker goes to the next task."""
    reuse = controller._maybe_reuse_cached_actor

    def unless_one_is_starting(trial: Trial) -> bool:
        return trial not in controller._trial_to_actor and bool(reuse(trial))

    controller._maybe_reuse_cached_actor = unless_one_is_starting


def _survive_every_loss(manager: Any) -> None:
    """Tune knows one way in which Ray says that an actor is gone, and ends the whole experiment at any other:
    a worker ended by Ray's memory monitor, a lost object, a node that is no more."""
    handle = manager._actor_task_failed

    def as_a_lost_actor(tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        handle(tracked_actor_task, exception)

    manager._actor_task_failed = as_a_lost_actor


def kill_worker(trial: Trial) -> bool:
    """Ends the trial's worker at once; Tune then hears that it is gone. False where it has none yet."""
    actor = trial.temporary_state.ray_actor
    if actor is None:
        return False
    ray.kill(actor)
    return True


def drop_idle_workers(controller: Any) -> None:
    """Warm workers without a trial hold memory, above all a GPU's."""
    controller._cleanup_cached_actors(force_all=True)
