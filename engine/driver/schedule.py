"""Carries each trial's reports to the conductor and its verdicts back to Ray Tune."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils.util import unflatten_dict

from engine.conductor import Conductor
from engine.driver import tune_gaps
from engine.driver.budget import Spent
from engine.driver.disk import Keeper
from engine.driver.faults import Faults, Verdict, shared
from engine.driver.pauses import Pauses
from engine.driver.search import TaskSearcher
from engine.driver.tracking import Listener
from engine.driver.watch import Watch
from engine.errors import SonotuneError, StorageError
from engine.race.events import Status
from engine.race.protocol import Freeze
from engine.race.protocol import Verdict as RaceVerdict
from engine.results import FIGURES
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
        faults: Faults,
    ) -> None:
        super().__init__()
        self.conductor, self.searcher = conductor, searcher
        self.give_up, self.listeners, self.spent, self.keeper = give_up, listeners, spent, keeper
        self.faults, self.pauses, self.watch = faults, Pauses(), Watch()
        self.failure: str | None = None
        self._closed_gaps = False
        searcher.diet, searcher.alone = faults.diet, faults.alone
        searcher.before_each, searcher.when_idle = self._take_up, self._take_up_alone

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its tuner at the start; the journal is our state."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.watch.hear(trial.trial_id)
        with self._closing_on_errors():
            return self._heard(tune_controller, trial, result)
        return str(self.STOP)

    def _heard(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        task = self.searcher.tasks[trial.trial_id]
        told = unflatten_dict(result)
        if "end" in told:
            self._ended(task, told["end"])
            return str(self.STOP)
        row = told["row"]
        for listener in self.listeners:
            listener.epoch(task, row)
        if over := self.spent.over():
            self.conductor.stop(over)
        extra = self.spent.so_far(task) | {name: told[name] for name in ("figures",) if told.get(name)}
        stops = self.conductor.reported(task, row["epoch"], row["score"], row["values"], **extra)
        for other, verdict in stops.items():
            self._halt(other, verdict)
            if other != task:
                self._stop_trial(tune_controller, other)
        return str(self.STOP if task in stops else self.CONTINUE)

    @contextmanager
    def _closing_on_errors(self) -> Iterator[None]:
        """A journal that cannot be written ends the session, in an orderly way: Tune would only show a
        traceback. What was not written is done again by a resume."""
        try:
            yield
        except SonotuneError as error:
            self._close(error)

    def _close(self, error: SonotuneError) -> None:
        self.searcher.error = self.searcher.error or error
        self.searcher.closing = True

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
        with self._closing_on_errors():
            self.conductor.ended(task, status, score, values, **(self.spent.end(task) | extra))
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
            self._failed(task, end)
        else:
            extra = {"note": end["note"]} if "note" in end else {}
            if end["status"] == "complete":
                extra |= {"figures": {name: end[name] for name in FIGURES}}
                self.faults.healed(task)
            self._tell_end(task, end["status"], end["score"], end["values"] or (), **extra)

    def _failed(self, task: Task, end: dict[str, Any]) -> None:
        log.warning("%s failed: %s\n%s", task.folder, end["signature"], end["error"])
        if end["kind"] == "storage":
            self._tell_end(task, "interrupted")
            self._close(StorageError(end["message"]))
        elif end["kind"] == "memory":
            self._act(task, self.faults.memory(task, self._shares()), end["error"])
        else:
            verdict = self.faults.error(task, end["signature"], self._retries(task), end["error"])
            self._act(task, verdict, end["error"])

    def _shares(self) -> bool:
        return shared(self.searcher.slots(), self.spent.gpus)

    def _retries(self, task: Task) -> int:
        return self.conductor.configuration_of(task).trained.train.retries

    def _act(self, task: Task, verdict: Verdict, error: str) -> None:
        log.warning("%s: %s", task.folder, verdict.act)
        if verdict.act == "retry":
            return self.pauses.hold(task, verdict.pause, self.spent.end(task))
        if verdict.act == "retry alone":
            return self.pauses.hold_until_idle(task, self.spent.end(task))
        with self._closing_on_errors():
            self.give_up(task, error)
        self._tell_end(task, "failed")
        if verdict.act == "stop the study":
            self.failure = error
            with self._closing_on_errors():
                self.conductor.stop("the same error came up in configuration after configuration")

    def _take_up(self) -> None:
        """Those whose pause is over are the conductor's to hand out again."""
        for task, times in self.pauses.over():
            self._tell_if_running(task, **times)

    def _take_up_alone(self) -> bool:
        """Asked when nothing runs and nothing else can: a fold that needs all memory gets its chance."""
        held = self.pauses.next_alone()
        if held is not None:
            self._tell_if_running(held[0], **held[1])
        return held is not None

    def _tell_if_running(self, task: Task, **times: Any) -> None:
        if task in self.conductor.running:
            self._tell_end(task, "interrupted", **times)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The worker itself is gone."""
        task = self.searcher.tasks.get(trial.trial_id)
        self.watch.forget(trial.trial_id)
        if task is None:
            return
        why = self.watch.ended.pop(trial.trial_id, None)
        error = f"the worker was lost: {why or (trial.error_file and _text(trial.error_file))}"
        log.warning("%s: %s", task.folder, error)
        progressed = self.conductor.running.get(task, 0) > 0
        verdict = self.faults.gone(task, error, self._retries(task), progressed, self._shares())
        self._act(task, verdict, error)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Called in every round of Tune's loop: also the moment to close down when that was asked for."""
        if not self._closed_gaps:
            tune_gaps.close_gaps(tune_controller._tune_controller)
            self._closed_gaps = True
        tune_gaps.forget_finished(tune_controller._tune_controller)
        self._reconcile(tune_controller)
        self._end_the_hung(tune_controller)
        if self.searcher.closing:
            for trial_id in tuple(self.searcher.tasks):
                tune_controller.stop_trial(tune_controller.get_trial(trial_id))
        return None

    def _end_the_hung(self, tune_controller: Any) -> None:
        """A worker that was killed is a lost one: Tune says so in its next round."""
        for trial_id, task in self.searcher.tasks.items():
            timeout = self.conductor.configuration_of(task).trained.train.timeout
            trial = tune_controller.get_trial(trial_id) if timeout is not None else None
            if trial is None or trial.temporary_state.ray_actor is None:
                continue
            if self.watch.silence(trial_id) > (timeout or 0.0):
                why = self.watch.end(trial_id, timeout or 0.0)
                log.warning("%s: %s; its worker is killed", task.folder, why)
                tune_gaps.kill_worker(trial)

    def _reconcile(self, tune_controller: Any) -> None:
        """Trials that Tune ended without a word must not leave their task running for ever."""
        for trial_id, task in tuple(self.searcher.tasks.items()):
            trial = tune_controller.get_trial(trial_id)
            if trial is not None and trial.status in (Trial.ERROR, Trial.TERMINATED):
                self.searcher.tasks.pop(trial_id)
                self._tell_end(task, "interrupted")

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        task = self.searcher.tasks[trial.trial_id]
        self.spent.start(task)
        tune_gaps.give_folder(trial)
        if self.faults.diet(task).alone:
            tune_gaps.drop_idle_workers(tune_controller._tune_controller)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Whatever Tune stopped without the race's word (a closing search) goes on another time."""
        self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self.watch.forget(trial.trial_id)
        task = self.searcher.tasks.get(trial.trial_id)
        if task is not None and task not in self.pauses:
            self._tell_if_running(task)

    def debug_string(self) -> str:
        return "sonotune"


def _text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()[-4000:]
