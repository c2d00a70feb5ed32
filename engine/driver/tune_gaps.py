"""Where Ray Tune 2.60 does not do what a search of many short folds on machines that come and go needs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import ray
from ray.air._internal import usage
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.registry import _global_registry

REMEMBERED = 50  # trials that Tune keeps
PATIENCE = 30.0  # seconds that a trial waits for a place for its own worker while a warm one is free


def close_gaps(controller: Any) -> None:
    """`controller` is Tune's own, of one experiment."""
    _let_actors_start(controller)
    _survive_every_loss(controller._actor_manager)
    _find_trials_at_once(controller)
    _store_nothing(controller)


def _let_actors_start(controller: Any, now: Callable[[], float] = time.monotonic) -> None:
    """Tune gives a free warm worker to the trial that waits for a worker of its own, and throws that one
    away while it starts; with folds shorter than a start, one slot would do all the work. Here the
    waiting trial keeps its own, and the free worker goes to the next task; but not for ever, as the node
    that had room for it may be gone."""
    reuse = controller._maybe_reuse_cached_actor
    since: dict[str, float] = {}

    def unless_one_is_starting(trial: Trial) -> bool:
        own = controller._trial_to_actor.get(trial)
        if own is not None:
            waited = now() - since.setdefault(trial.trial_id, now())
            if waited < PATIENCE or controller._actor_manager.is_actor_started(own):
                return False
        return bool(reuse(trial))

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


def _find_trials_at_once(controller: Any) -> None:
    """Tune looks through all trials for each one that is asked for, and in each of its rounds every running
    fold is: with hundreds of slots that alone would keep the driver busy."""
    trials = WeakValueDictionary({trial.trial_id: trial for trial in controller._trials})
    add = controller.add_trial

    def noted(trial: Trial) -> None:
        trials[trial.trial_id] = trial
        add(trial)

    controller.add_trial, controller.get_trial = noted, trials.get


def _store_nothing(controller: Any) -> None:
    """Tune writes down now and then what every trial reported, for a resume of its own; ours is the
    journal's. At the end it looks whether the file is there."""

    def checkpoint(force: bool = False, wait: bool = False) -> None:
        if force:
            place = Path(controller.experiment_path)
            place.mkdir(parents=True, exist_ok=True)
            (place / controller.experiment_state_file_name).touch()

    controller.checkpoint = checkpoint


@contextmanager
def without_detours() -> Iterator[None]:
    """While Tune runs an experiment of ours: at its start it imports every tracker that is installed, for
    seconds, to count those in use; and for each trial it asks Ray's head three times for the same trainable,
    in its loop's only thread."""
    registry: Any = _global_registry
    counted, remembered = usage.tag_callbacks, _Remembered(registry)
    usage.tag_callbacks = lambda callbacks: False
    registry.contains, registry.get = remembered.contains, remembered.get
    try:
        yield
    finally:
        usage.tag_callbacks = counted
        del registry.contains, registry.get


class _Remembered:
    def __init__(self, registry: Any) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        self._contains, self._get = registry.contains, registry.get

    def contains(self, category: str, key: str) -> bool:
        return (category, key) in self.known or bool(self._contains(category, key))

    def get(self, category: str, key: str) -> Any:
        if (category, key) not in self.known:
            self.known[category, key] = self._get(category, key)
        return self.known[category, key]


def give_folder(trial: Trial) -> None:
    """At an experiment's end Tune looks into each trial's folder, which one that never started has not."""
    trial.init_local_path()


def forget_finished(controller: Any) -> None:
    """Tune keeps every trial with all that it ever reported, and looks through all of them in each round. The
    last few stay, for whatever it still has to do with them."""
    if len(controller._trials) < 2 * REMEMBERED:
        return
    over = [trial for trial in controller._trials[:-REMEMBERED] if trial.is_finished()]
    gone = {trial for trial in over if trial not in controller._trial_to_actor}
    controller._trials = [trial for trial in controller._trials if trial not in gone]
    for kept in (controller._stopped_trials, controller._failed_trials, controller._live_trials):
        kept -= gone
    controller._trials_to_cache -= gone
    for trial in gone:
        controller._trial_metadata.pop(trial.trial_id, None)


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
