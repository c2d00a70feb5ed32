"""Brings sampler, race and journal together: what to train next, and what each report leads to.

Every event is journaled before anything follows from it; events from which nothing follows (a report after
which training simply goes on) wait up to a second, so that they are written together. A conductor that is
given the journal of an earlier run goes through it first, asking and telling the sampler and applying the
race's events in the same order, and so arrives at the same state; a journal that does not fit is an error.
Pure but for the journal: no Ray, no clock.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from engine.errors import SonotuneError
from engine.finals import Finals, pick
from engine.journal.journal import Journal
from engine.proposals import Proposals
from engine.race.events import (
    Dropped,
    Ended,
    Event,
    Limited,
    Lost,
    Opened,
    Reported,
    Resumed,
    Started,
    Status,
    Stopped,
    from_record,
    to_record,
)
from engine.race.outcome import nothing_left, outcome
from engine.race.protocol import Continue, Done, Freeze, Next, Open, Run, Stop, Verdict, Wait
from engine.race.race import Race
from engine.sampler.mirror import Mirror
from engine.sampler.sampler import Past as Known
from engine.sampler.sampler import Sampler
from engine.spec.study import Configuration, FirstStage, Study
from engine.task import Task

log = logging.getLogger("sonotune")

Trained = Configuration | FirstStage

MOST_REPEATS = 50  # asks in a row that yield known configurations before the space counts as exhausted


@dataclass(frozen=True)
class Past:
    """A fold that was trained before: its epochs' (score, values) and its own."""

    epochs: Sequence[tuple[float, tuple[float, ...]]]
    status: Status
    score: float | None
    values: tuple[float, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


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
        self.study, self.race, self.journal = study, race, journal
        self.past, self.sound = past, sound
        self.proposals = Proposals(study, sampler, race, mirror)
        self.entries, self.stages = self.proposals.entries, self.proposals.stages
        self.finals = finals or Finals()
        self.running: dict[Task, int] = {}  # epochs reported
        self.epochs = 0
        self.done: str | None = None
        self._decided = False  # since the last commit
        self._dropped = False  # since the running tasks were last asked for

    # -- resuming ----------------------------------------------------------------------------------

    def replay(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Goes through an earlier run's journal. Decisions are made anew and compared by the race."""
        for number, record in enumerate(records, 1):
            try:
                self._replay(record)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise SonotuneError(
                    f"record {number} of the journal does not follow from those before it ({error!r}), "
                    "so it is damaged or foreign; start a new run that reuses this one's results"
                ) from error
        if (decision := self.race.decision()) is not None:
            self._record(decision)  # and with it all that follow

    def _replay(self, record: Mapping[str, Any]) -> None:
        if record["event"] == "warm":
            self.proposals.warm(Known(**one) for one in record["past"])
        elif record["event"] == "asked":
            self.proposals.ask_again(record["params"])
        elif record["event"] in RACE_EVENTS:
            self._measured(record)
            self._take(from_record(record, EXTRAS))

    def warm(self, known: Sequence[Known]) -> tuple[int, int]:
        """What earlier runs learned; journaled, so that a resume learns the same."""
        self.journal.append({"event": "warm", "past": [asdict(one) for one in known]})
        self._commit()
        return self.proposals.warm(known)

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
                    self._record(Started(action.task))
                    self.running[action.task] = 0
                    self._commit()
                    return action.task
            elif isinstance(action, Done):
                self.done = action.reason
            else:
                break
        self._commit()
        return None

    def _action(self) -> Next:
        """The race's word; when nothing is left to race, the outer folds of a nested design."""
        action = self.race.next()
        if not isinstance(action, Done) or self.race.stopped is not None:
            return action
        task = self.finals.next(self._chains())
        if task is not None:
            return Run(task)
        return Wait() if self.finals.running else action

    def _chains(self) -> Iterator[list[Task]]:
        for outer in self.finals.folds:
            key = pick(self.race, outer, self.study, self.finals.ratio, self.proposals.fits)
            if key is not None:
                keys = (self.entries[key].stage_key, key)
                yield [Task(each, outer) for each in keys if each is not None]

    def picks(self) -> set[str]:
        """What the study's rule would pick by now, of each outer fold where there are some."""
        ratio, fits = self.finals.ratio, self.proposals.fits
        found = (pick(self.race, outer, self.study, ratio, fits) for outer in self.race.rules)
        return {key for key in found if key is not None}

    def _open(self) -> None:
        for _ in range(MOST_REPEATS):
            asked = self.proposals.ask()
            if asked is None:
                break
            self.journal.append({"event": "asked", "number": asked.number, "params": dict(asked.params)})
            config_id, fresh = self.proposals.enter(asked.number, asked.params)
            if fresh:
                entry = self.entries[config_id]
                wanted = asked.number < len(self.study.first)
                epochs = entry.configuration.trained.train.epochs
                self._record(Opened(config_id, epochs, entry.stage_key, wanted))
                return
        self._record(Limited(len(self.entries)))

    def _lacks_stage(self, task: Task) -> bool:
        """A first stage that was trained and damaged since is trained again before anybody builds on it."""
        stage = None if task.key in self.stages else self.entries[task.key].configuration.first_stage
        if stage is None or self.sound(Task(stage.key, task.fold), stage):
            return False
        log.warning("the first stage %s/%s is damaged or gone; it is trained again", stage.key, task.fold)
        self._record(Lost(Task(stage.key, task.fold)))
        return True

    def _from_past(self, task: Task) -> bool:
        found = self.past(task, self.configuration_of(task))
        if found is None:
            return False
        self._record(Started(task), reused=True)
        for epoch, (score, values) in enumerate(found.epochs, 1):
            self._record(Reported(task, epoch, score, values, self._stage_of(task)), reused=True)
        end = Ended(task, found.status, found.score, found.values, self._cost(found.figures))
        self._record(end, reused=True, figures=dict(found.figures))
        return True

    def configuration_of(self, task: Task) -> Trained:
        return self.stages.get(task.key) or self.entries[task.key].configuration

    def _stage_of(self, task: Task) -> str:
        return "segment" if task.key in self.stages else "main"

    # -- listening ---------------------------------------------------------------------------------

    def reported(self, task: Task, epoch: int, score: float, values: Sequence[float]) -> dict[Task, Verdict]:
        """An epoch is over; which running tasks must now stop or freeze, and why."""
        if task not in self.running:
            return {task: Stop("it is not expected to run")}
        self.running[task] = epoch
        self.epochs += 1
        self._record(Reported(task, epoch, score, tuple(values), self._stage_of(task)))
        budget = self.study.fixed.search.budget.epochs
        if budget is not None and self.epochs >= budget:
            self.stop(f"the budget of {budget} epochs is spent")
        verdicts = {other: self._verdict(other) for other in self._concerned(task)}
        if isinstance(verdicts[task], Freeze) and epoch >= self.configuration_of(task).epochs:
            del verdicts[task]  # it is trained already; only its last scoring is left
        told: dict[Task, Verdict] = {
            other: verdict for other, verdict in verdicts.items() if not isinstance(verdict, Continue)
        }
        self._decided |= bool(told)
        self._commit_soon()
        return told

    def _concerned(self, task: Task) -> list[Task]:
        """A freeze is for the task that has just reported; a drop or a stop ends others at once as well."""
        if not self._dropped:  # only a drop changes what is said of others, of whom there may be thousands
            return [task]
        self._dropped = False
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
        cost = self._cost(extra.get("figures", {}))
        self._record(Ended(task, status, score, tuple(values), cost), **extra)
        self._commit_soon()

    def flush(self) -> None:
        """To be called now and then: what waits to be written may be all there is."""
        self.journal.commit_soon()

    def _cost(self, figures: Mapping[str, float]) -> float | None:
        """What `select.rule` keeps small, if it does; seconds are too noisy to drop anything for."""
        select = self.study.fixed.select
        return figures.get(select.cost) if select.rule == "one_se" else None

    def stop(self, reason: str) -> None:
        """Nothing new is handed out; what runs freezes at its next report."""
        if self.race.stopped is None:
            self._record(Stopped(reason))
            self._commit()

    def resumed(self) -> None:
        """The driver has started again, perhaps with another limit or a larger budget."""
        self._record(Resumed())
        self._record(Limited(self.study.fixed.search.configs))
        self.running.clear()
        self._commit()

    def lost(self, event: Event) -> None:
        """There is more to do than there was, also in a study that was done."""
        self.done = None
        self._record(event)
        self._commit()

    def close(self) -> None:
        try:
            self.journal.close()
        finally:
            self.proposals.close()

    # -- the one way in ----------------------------------------------------------------------------

    def _commit(self) -> None:
        """What was decided is durable before anybody acts on it."""
        self.journal.commit()
        self._decided = False
        self.proposals.flush()

    def _commit_soon(self) -> None:
        """Lost in a crash, these events cost nothing: the fold's checkpoint or result is on storage."""
        if self._decided:
            self._commit()
        else:
            self.journal.commit_soon()

    def _record(self, event: Event, **extra: Any) -> None:
        record = to_record(event) | extra
        self.journal.append(record)
        self._measured(record)
        self._take(event)
        while (decision := self.race.decision()) is not None:
            self.journal.append(to_record(decision))
            self._take(decision)
            self._decided = self._dropped = True

    def _measured(self, record: Mapping[str, Any]) -> None:
        if "figures" in record and not self.finals.knows(Task(**record["task"])):
            self.proposals.measured(record["task"]["key"], record["figures"])

    def _take(self, event: Event) -> None:
        if isinstance(event, Started | Reported | Ended | Lost) and self.finals.knows(event.task):
            return self.finals.apply(event)
        if isinstance(event, Resumed):
            self.finals.running.clear()
        self.race.apply(event)
        if isinstance(event, Ended | Dropped):
            self.proposals.tell(event.config if isinstance(event, Dropped) else event.task.key)

    def mean(self, config_id: str) -> float | None:
        """Of a complete configuration, over all folds and objectives."""
        found = outcome(self.race, config_id)
        if found is None or found.state != "complete" or not found.values:
            return None
        return fmean(found.values)

    def settled(self, config_id: str) -> bool:
        """Nothing of it will be trained any more."""
        return outcome(self.race, config_id) is not None

    def is_out(self, config_id: str) -> bool:
        """Dropped for good: nobody will ask for its folds again."""
        found = outcome(self.race, config_id) if config_id in self.entries else None
        return found is not None and found.state == "dropped"

    def is_useless(self, config_id: str) -> bool:
        """Out, or failed with no fold left to train: nobody will go on with it, or pick it."""
        found = outcome(self.race, config_id) if config_id in self.entries else None
        return found is not None and found.state != "complete" and nothing_left(self.race, config_id)


RACE_EVENTS = {"opened", "started", "reported", "ended", "lost", "dropped", "stopped", "limited", "resumed"}
EXTRAS = frozenset({"reused", "note", "clock", "held", "figures"})
