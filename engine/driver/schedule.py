"""Carries each trial's reports to the conductor and its verdicts back to Ray Tune."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from engine.conductor import Conductor
from engine.driver.budget import Spent
from engine.driver.disk import Keeper
from engine.driver.faults import Faults
from engine.driver.search import TaskSearcher
from engine.driver.tracking import Listener
from engine.past import FIGURES
from engine.race.events import Status
from engine.race.protocol import Freeze
from engine.race.protocol import Verdict as RaceVerdict
from engine.task import Task

log = logging.getLogger("sonotune")


class TaskScheduler(TrialScheduler):
    """Decides nothing itself. A fold's end is told to the conductor before Tune moves on."""

    def __init__(
        self,
        conductor: Conductor,
        searcher: TaskSearcher,
        give_up: Callable[[Task, str], None],
        listeners: Sequence[Listener],
        spent: Spent,
        keeper: Keeper,
    ) -> None:
        super().__init__()
        self.conductor, self.searcher = conductor, searcher
        self.give_up, self.listeners, self.spent, self.keeper = give_up, listeners, spent, keeper
        self.faults = Faults()
        self.failure: str | None = None
        self._guarded = False

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its tuner at the start; the journal is our state."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        task = self.searcher.tasks[trial.trial_id]
        if "end/status" in result:
            self._ended(task, {k.removeprefix("end/"): v for k, v in result.items() if k.startswith("end/")})
            return str(self.STOP)
        row = {name.removeprefix("row/"): value for name, value in result.items() if name.startswith("row/")}
        for listener in self.listeners:
            listener.epoch(task, row)
        if over := self.spent.over():
            self.conductor.stop(over)
        stops = self.conductor.reported(task, row["epoch"], row["score"], row["values"])
        for other, verdict in stops.items():
            self._halt(other, verdict)
            if other != task:
                self._stop_trial(tune_controller, other)
        return str(self.STOP if task in stops else self.CONTINUE)

    def _halt(self, task: Task, verdict: RaceVerdict) -> None:
        if isinstance(verdict, Freeze):
            self._tell_end(task, "frozen")
        else:
            self._tell_end(task, "stopped", note=getattr(verdict, "reason", ""))

    def _tell_end(
        self,
        task: Task,
        status: Status,
        score: float | None = None,
        values: Sequence[float] = (),
        **extra: Any,
    ) -> None:
        self.conductor.ended(task, status, score, values, **self.spent.end(task), **extra)
        log.info("%s %s %s", task.folder, status, extra.get("note", "") if score is None else score)
        for listener in self.listeners:
            listener.end(task, status, score)
        self.keeper.ended(task.key)

    def _stop_trial(self, tune_controller: Any, task: Task) -> None:
        """The worker goes on to the end of its epoch; what it reports then is not heard any more."""
        trial_id = self.searcher.trial_of(task)
        if trial_id is not None:
            tune_controller.stop_trial(tune_controller.get_trial(trial_id))

    def _ended(self, task: Task, end: dict[str, Any]) -> None:
        if "signature" in end:
            self._failed(task, end["signature"], end["error"])
        else:
            extra = {"figures": {name: end[name] for name in FIGURES}}
            extra |= {"note": end["note"]} if "note" in end else {}
            self._tell_end(task, end["status"], end["score"], end["values"] or (), **extra)

    def _failed(self, task: Task, signature: str, error: str) -> None:
        retries = self.conductor.configuration_of(task).trained.train.retries
        verdict = self.faults.error(task, signature, retries)
        log.warning("%s failed (%s): %s\n%s", task.folder, verdict, signature, error)
        self._act(task, verdict, error)

    def _act(self, task: Task, verdict: str, error: str) -> None:
        if verdict == "retry":
            return self._tell_end(task, "interrupted")
        self.give_up(task, error)
        self._tell_end(task, "failed")
        if verdict == "stop the study":
            self.failure = error
            self.conductor.stop("the same error came up in configuration after configuration")

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The worker itself is gone."""
        task = self.searcher.tasks.get(trial.trial_id)
        if task is None:
            return
        retries = self.conductor.configuration_of(task).trained.train.retries
        verdict = self.faults.lost(task, retries)
        error = f"the worker was lost: {trial.error_file and _text(trial.error_file)}"
        log.warning("%s: %s (%s)", task.folder, error, verdict)
        self._act(task, verdict, error)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Called in every round of Tune's loop: also the moment to close down when that was asked for."""
        self._let_actors_start(tune_controller)
        self._reconcile(tune_controller)
        if self.searcher.closing:
            for trial_id in tuple(self.searcher.tasks):
                tune_controller.stop_trial(tune_controller.get_trial(trial_id))
        return None

    def _let_actors_start(self, tune_controller: Any) -> None:
        """Tune gives a free warm worker to the trial that waits for a worker of its own, and throws that one
        away while it starts; with folds shorter than a start, one slot would do all the work. Here the
        waiting trial keeps its own, and the free worker goes to the next task."""
        if self._guarded:
            return
        self._guarded = True
        controller = tune_controller._tune_controller
        reuse = controller._maybe_reuse_cached_actor

        def unless_one_is_starting(trial: Trial) -> bool:
            return trial not in controller._trial_to_actor and bool(reuse(trial))

        controller._maybe_reuse_cached_actor = unless_one_is_starting

    def _reconcile(self, tune_controller: Any) -> None:
        """Trials that Tune ended without a word must not leave their task running for ever."""
        for trial_id, task in tuple(self.searcher.tasks.items()):
            trial = tune_controller.get_trial(trial_id)
            if trial is not None and trial.status in (Trial.ERROR, Trial.TERMINATED):
                self.searcher.tasks.pop(trial_id)
                self._tell_end(task, "interrupted")

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.spent.start(self.searcher.tasks[trial.trial_id])

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Whatever Tune stopped without the race's word (a closing search) goes on another time."""
        task = self.searcher.tasks.get(trial.trial_id)
        if task in self.conductor.running:
            self._tell_end(task, "interrupted")

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        pass

    def debug_string(self) -> str:
        return "sonotune"


def _text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()[-4000:]
