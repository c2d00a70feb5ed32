"""Brings sampler, race and journal together: what to train next, and what each report leads to.

Whatever happens goes into the ledger, which journals it before race and sampler learn of it. A conductor that
is given the journal of an earlier run goes through it first, and so arrives at the same state.
Pure but for the journal: no Ray, no clock.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.finals import Finals, pick
from engine.journal.journal import Journal
from engine.ledger import Ledger, Past
from engine.proposals import Proposals
from engine.race.events import (
    Ended,
    Event,
    Limited,
    Lost,
    Opened,
    Reported,
    Started,
    Status,
    Stopped,
)
from engine.race.protocol import Continue, Done, Freeze, Next, Open, Run, Stop, Verdict, Wait
from engine.race.race import Race
from engine.sampler.mirror import Mirror
from engine.sampler.sampler import Past as Known
from engine.sampler.sampler import Sampler
from engine.spec.study import Configuration, FirstStage, Study
from engine.task import Task
from engine.words import plural

log = logging.getLogger("sonotune")

Trained = Configuration | FirstStage

MOST_REPEATS = 50  # asks in a row that yield known configurations before the space counts as exhausted


class Conductor:
    def __init__(
        self,
        study: Study,
        sampler: Sampler,
        race: Race,
        journal: Journal,
        past: Callable[[Task, Trained], Past | None] = lambda task, configuration: None,
        mirror: Mirror | None = None,
        sound: Callable[[Task, FirstStage], bool] = lambda task, stage: True,
        finals: Finals | None = None,
    ) -> None:
        self.study, self.race = study, race
        self.past, self.sound = past, sound
        self.proposals = Proposals(study, sampler, race, mirror)
        self.entries, self.stages = self.proposals.entries, self.proposals.stages
        self.finals = finals or Finals()
        self.ledger = Ledger(journal, race, self.finals, self.proposals)
        self.running: dict[Task, int] = {}  # epochs reported
        self.done: str | None = None

    # -- beginning and ending ----------------------------------------------------------------------

    def replay(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Goes through an earlier run's journal."""
        self.ledger.replay(records)

    def resumed(self) -> None:
        """The driver has started again, perhaps with another limit or a larger budget."""
        self._freeze_what_was_to_be()
        self.ledger.resumed(self.study.fixed.search.configs)
        self.running.clear()
        self.ledger.commit()
        self._stop_when_spent()

    def _freeze_what_was_to_be(self) -> None:
        """The driver before may have died between a report and the freeze that it led to."""
        last = self.ledger.last
        if not isinstance(last, Reported) or last.epoch >= self.configuration_of(last.task).epochs:
            return
        if isinstance(self._verdict(last.task), Freeze):
            self.ledger.record(Ended(last.task, "frozen"))

    def _stop_when_spent(self) -> None:
        budget = self.study.fixed.search.budget.epochs
        if budget is not None and self.ledger.epochs >= budget:
            self.stop(f"the budget of {plural(budget, 'epoch')} is spent")

    def warm(self, known: Sequence[Known]) -> tuple[int, int]:
        """What earlier runs learned, as the journal's beginning says."""
        return self.proposals.warm(known)

    def stop(self, reason: str) -> None:
        """Nothing new is handed out; what runs freezes at its next report."""
        if self.race.stopped is None:
            self.ledger.record(Stopped(reason))
            self.ledger.commit()

    def flush(self) -> None:
        """To be called now and then: what waits to be written may be all there is."""
        self.ledger.flush()

    def close(self) -> None:
        self.ledger.close()

    # -- handing out -------------------------------------------------------------------------------

    def next(self) -> Task | None:
        """A task for a free worker; None when there is none now, or, `done` says why, never will be."""
        while self.done is None:
            action = self._action()
            if isinstance(action, Open):
                self._open()
            elif isinstance(action, Run):
                if self._lacks_stage(action.task):
                    continue
                if not self._from_past(action.task):
                    self.ledger.record(Started(action.task))
                    self.running[action.task] = 0
                    self.ledger.commit()
                    return action.task
            elif isinstance(action, Done):
                self.done = action.reason + self._fewer()
            else:
                break
        self.ledger.commit()
        return None

    def _fewer(self) -> str:
        """A grid has an end; what learns may come back to what it knows long before a small space has."""
        wanted, limit = self.study.fixed.search.configs, self.race.limit
        fewer = self.race.stopped is None and limit is not None and limit < wanted
        return f"; there are {limit} of {wanted}, for the sampler proposes no others" if fewer else ""

    def _action(self) -> Next:
        """The race's word; when nothing is left to race, the outer folds of a nested design."""
        action = self.race.next()
        if not isinstance(action, Done) or self.race.stopped is not None:
            return action
        task = self.finals.next(self.proposals)
        if task is not None:
            return Run(task)
        return Wait() if self.finals.running else action

    def picks(self) -> set[str]:
        """What the study's rule would pick by now, of each outer fold where there are some."""
        found = (pick(self.proposals, outer, self.finals.ratio) for outer in self.race.rules)
        return {key for key in found if key is not None}

    def _open(self) -> None:
        for _ in range(MOST_REPEATS):
            asked = self.proposals.ask()
            if asked is None:
                break
            config_id, fresh = self.ledger.asked(asked.number, asked.params)
            if fresh:
                entry = self.entries[config_id]
                wanted = asked.number < len(self.study.first)
                epochs = entry.configuration.trained.train.epochs
                self.ledger.record(Opened(config_id, epochs, entry.stage_key, wanted))
                return
        self.ledger.record(Limited(len(self.entries)))

    def _lacks_stage(self, task: Task) -> bool:
        """A first stage that was trained and damaged since is trained again before anybody builds on it."""
        stage = None if task.key in self.stages else self.entries[task.key].configuration.first_stage
        if stage is None or self.sound(Task(stage.key, task.fold), stage):
            return False
        log.warning("the first stage %s/%s is damaged or gone; it is trained again", stage.key, task.fold)
        self.ledger.record(Lost(Task(stage.key, task.fold)))
        return True

    def _from_past(self, task: Task) -> bool:
        found = self.past(task, self.configuration_of(task))
        if found is not None:
            self.ledger.adopt(task, found, self._stage_of(task), self._measured(task, found.figures))
        return found is not None

    def configuration_of(self, task: Task) -> Trained:
        return self.stages.get(task.key) or self.entries[task.key].configuration

    def _stage_of(self, task: Task) -> str:
        return "segment" if task.key in self.stages else "main"

    # -- listening ---------------------------------------------------------------------------------

    def reported(
        self, task: Task, epoch: int, score: float, values: Sequence[float], **extra: Any
    ) -> dict[Task, Verdict]:
        """An epoch is over; which running tasks must now stop or freeze, and why. `extra` as in `ended`."""
        if task not in self.running:
            return {task: Stop("it is not expected to run")}
        self.running[task] = epoch
        cost, fits = self._measured(task, extra.get("figures", {}))
        stage = self._stage_of(task)
        self.ledger.record(Reported(task, epoch, score, tuple(values), stage, cost, fits), **extra)
        self._stop_when_spent()
        verdicts = {other: self._verdict(other) for other in self._concerned(task)}
        if isinstance(verdicts[task], Freeze) and epoch >= self.configuration_of(task).epochs:
            del verdicts[task]  # it is trained already; only its last scoring is left
        told: dict[Task, Verdict] = {
            other: verdict for other, verdict in verdicts.items() if not isinstance(verdict, Continue)
        }
        self.ledger.decided |= bool(told)
        self.ledger.commit_soon()
        return told

    def _concerned(self, task: Task) -> list[Task]:
        """A freeze is for the task that has just reported; a drop or a stop ends others at once as well."""
        if not self.ledger.dropped:  # nothing else changes what is said of others, perhaps of thousands
            return [task]
        self.ledger.dropped = False
        others = [t for t in self.running if t != task and isinstance(self._verdict(t), Stop)]
        return [task, *others]

    def _verdict(self, task: Task) -> Verdict:
        if self.finals.knows(task):
            return Continue() if self.race.stopped is None else Freeze()
        return self.race.verdict(task)

    def ended(
        self,
        task: Task,
        status: Status,
        score: float | None = None,
        values: Sequence[float] = (),
        **extra: Any,
    ) -> None:
        """`extra` is journaled beside the event and read by no decision of the race."""
        if self.running.pop(task, None) is None:
            return
        figures = extra.get("figures", {}) if status == "complete" else {}
        end = Ended(task, status, score, tuple(values), *self._measured(task, figures))
        self.ledger.record(end, **extra)
        self.ledger.commit_soon()

    def _measured(self, task: Task, figures: Mapping[str, float]) -> tuple[float | None, bool]:
        """What `select.rule` keeps small, if it does (seconds are too noisy to drop anything for), and
        whether the bounds hold; a first stage is measured together with the stage that builds on it."""
        select = self.study.fixed.select
        cost = figures.get(select.cost) if select.rule == "one_se" else None
        return cost, task.key in self.stages or self.proposals.within(figures)

    def lost(self, event: Event) -> None:
        """There is more to do than there was, also in a study that was done."""
        self.done = None
        self.ledger.record(event)
        self.ledger.commit()
