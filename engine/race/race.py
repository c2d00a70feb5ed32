"""The decision machine: events in, decisions out. No clock, no Ray, no randomness but the seed's.

The driver and the race keep this protocol:

1. Whatever happens is an event (`events.py`): journaled, then given to `apply`, one after the other.
2. After each `apply`, `decisions()` lists what follows from it (configurations dropped). The driver
   journals and applies each of them before any other event; `apply` refuses anything else meanwhile.
   Replaying a journal therefore checks every decision in it, and what a crash kept from the journal
   is again listed by `decisions()` when the replay ends.
3. For a free worker the driver asks `next()`: `Open` (ask the sampler, apply `Opened`), `Run(task)`
   (apply `Started`), `Wait` (ask again after the next event) or `Done(reason)`. `next()` changes
   nothing: asked twice without an event between, it answers the same.
4. After each `Reported`, and for other running folds whenever a configuration was dropped, the driver
   asks `verdict(task)`: `Continue`, `Stop(reason)` (for good) or `Freeze` (keep the checkpoint; its
   `Ended` has status "frozen"). A verdict is advice: only the `Ended` that follows from it counts.
5. A worker lost with its task is `Ended(task, "interrupted")`, a driver started again is `Resumed`:
   interrupted tasks are handed out before anything else. When to give up and say "failed" is the
   driver's choice. Epochs that are told again are ignored.
6. A task whose key is a prerequisite is a first stage: `Started` and `Ended` say what became of it,
   its reports are not scores. It is handed out once, for the first configuration that needs it on that
   fold; whatever else waits for it is blocked until it ends, and fails with it.
7. Budgets are the driver's: it applies `Stopped(reason)`. `Limited(configs)` changes the number of
   configurations, or says that the sampler has no more; it also lifts `Stopped`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from engine.errors import SonotuneError
from engine.race.bars import Pick
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
    Stopped,
)
from engine.race.heat import Heat, State
from engine.race.none import Setting, TrainAll
from engine.race.rules import make_rule
from engine.race.stages import Stages
from engine.spec import race as spec
from engine.task import Task


@dataclass(frozen=True)
class Open:
    """Ask the sampler for a configuration."""


@dataclass(frozen=True)
class Run:
    task: Task


@dataclass(frozen=True)
class Wait:
    """Nothing can be handed out before something else ends."""


@dataclass(frozen=True)
class Done:
    reason: str


@dataclass(frozen=True)
class Continue:
    pass


@dataclass(frozen=True)
class Stop:
    reason: str


@dataclass(frozen=True)
class Freeze:
    pass


@dataclass(frozen=True)
class Audit:
    """`wrong` of `finished` dropped configurations, and a 95 % interval of the true share."""

    wrong: int
    finished: int
    low: float
    high: float


def clopper_pearson(hits: int, tries: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share. With no tries, anything is possible."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, tries - hits + 1, tail))
    high = 1.0 if hits == tries else float(betaincinv(hits + 1, tries - hits, 1 - tail))
    return low, high


Next = Open | Run | Wait | Done
Verdict = Continue | Stop | Freeze

ENDINGS = {
    "diverged": State.FAILED,
    "failed": State.FAILED,
    "stopped": State.STOPPED,
    "frozen": State.FROZEN,
    "interrupted": State.FROZEN,
}


def outer_of(fold: str) -> str | None:
    """The outer fold of a nested fold's name ("o1" of "o1-r0-f2"), None of others."""
    head = fold.split("-")[0]
    return head if head.startswith("o") else None


class Race:
    """One study's race. Nested folds run one heat per outer fold; see `heat.py`."""

    def __init__(
        self,
        settings: spec.Race,
        folds: tuple[str, ...],
        configs: int | None,
        seed: int = 0,
        objectives: int = 1,
        pick: Pick = "best_mean",
        learns: bool = True,
        make: Callable[[spec.Race, Setting], TrainAll] = make_rule,
    ) -> None:
        self.settings, self.seed, self.limit = settings, seed, configs
        self.channels = 1 if objectives == 1 else 1 + objectives
        groups: dict[str | None, list[str]] = {}
        for fold in folds:
            groups.setdefault(outer_of(fold), []).append(fold)
        self.rules = {
            outer: make(settings, Setting(tuple(members), seed, self.channels, pick, learns))
            for outer, members in groups.items()
        }
        self.heats = {outer: rule.heat for outer, rule in self.rules.items()}
        self._outer = {fold: outer for outer, members in groups.items() for fold in members}
        self._names = {id(heat): outer for outer, heat in self.heats.items()}
        self.rows: dict[str, int] = {}
        self.configs: list[str] = []
        self.firsts: set[int] = set()  # what the user asked for is finished, dropped or not
        self.running: dict[Task, None] = {}
        self.interrupted: dict[Task, None] = {}
        self.stages = Stages()
        self.stopped: str | None = None
        self.reasons: dict[tuple[str | None, int], str] = {}
        self._pending: list[Dropped] = []

    # -- events ------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take notice of one event; what follows from it is in `decisions()`."""
        if isinstance(event, Dropped):
            return self._dropped(event)
        if self._pending:
            raise SonotuneError(
                f"the journal holds {event} where the race decides {self._pending[0]}: "
                "it was written by another version or another spec"
            )
        if isinstance(event, Reported):
            return self._reported(event)
        if isinstance(event, Started):
            return self._started(event.task)
        if isinstance(event, Ended):
            return self._ended(event)
        if isinstance(event, Opened):
            return self._opened(event)
        if isinstance(event, Lost):
            return self._lost(event.task)
        return self._ruled(event)

    def _ruled(self, event: Stopped | Limited | Resumed) -> None:
        if isinstance(event, Stopped):
            self.stopped = event.reason
        elif isinstance(event, Limited):
            self.limit, self.stopped = event.configs, None
        else:
            for task in tuple(self.running):
                self._ended(Ended(task, "interrupted"))

    def _opened(self, event: Opened) -> None:
        if event.config in self.rows:
            raise SonotuneError(f"configuration {event.config} was opened twice")
        row = self.rows[event.config] = len(self.configs)
        self.configs.append(event.config)
        if event.first:
            self.firsts.add(row)
        for heat in self.heats.values():
            heat.open(event.epochs, event.cost)
        if event.prerequisite is not None:
            for fold, state in self.stages.need(event.prerequisite, row):
                heat = self.heats[self._outer[fold]]
                heat.move(row, heat.column[fold], state)
                self._failed(fold, row, state)

    def _started(self, task: Task) -> None:
        self.interrupted.pop(task, None)
        self.running[task] = None
        if self.stages.knows(task.key):
            return self._stage(task, State.RUNNING, State.BLOCKED)
        heat, row, fold = self._place(task)
        heat.move(row, fold, State.RUNNING)

    def _reported(self, event: Reported) -> None:
        if self.stages.knows(event.task.key) or event.stage != "main":
            return
        heat, row, fold = self._place(event.task)
        if heat.report(row, fold, event.epoch, self._scores(event.score, event.values)):
            self._judge(heat, row, fold)

    def _ended(self, event: Ended) -> None:
        self.running.pop(event.task, None)
        if event.status == "interrupted":
            self.interrupted[event.task] = None
        if self.stages.knows(event.task.key):
            return self._stage_ended(event)
        heat, row, fold = self._place(event.task)
        if event.status == "complete":
            known = heat.best[row, fold] if event.score is None else self._scores(event.score, event.values)
            heat.finish(row, fold, known)
        else:
            heat.move(row, fold, ENDINGS[event.status])
        self._failed(event.task.fold, row, State(heat.state[row, fold]))
        if event.status == "complete":
            self._judge(heat, row, fold)

    def _stage_ended(self, event: Ended) -> None:
        if event.status == "complete":
            return self._stage(event.task, State.COMPLETE, State.WAITING)
        state = ENDINGS[event.status]
        if state != State.FAILED:  # it goes on later, before or after others
            return self._stage(event.task, State.FROZEN, State.WAITING)
        self._stage(event.task, state, State.FAILED)
        for row in self.stages.users[event.task.key]:
            self._failed(event.task.fold, row, state)

    def _stage(self, stage: Task, state: State, followers: State) -> None:
        """A first stage moves, and with it the same fold of whatever needs it."""
        self.stages.move(stage, state)
        begun = () if followers == State.WAITING else (State.FROZEN,)  # their first stage was lost since
        heat = self.heats[self._outer[stage.fold]]
        fold = heat.column[stage.fold]
        for row in self.stages.users[stage.key]:
            if heat.state[row, fold] in (State.WAITING, State.BLOCKED, *begun):
                heat.move(row, fold, followers)

    def _lost(self, task: Task) -> None:
        self.interrupted.pop(task, None)
        if self.stages.knows(task.key):
            return self._stage(task, State.WAITING, State.WAITING)
        heat, row, fold = self._place(task)
        heat.forget(row, fold)

    # -- decisions ---------------------------------------------------------------------------------

    def decisions(self) -> tuple[Dropped, ...]:
        """What the events so far ask for and no event has yet said was done."""
        return tuple(self._pending)

    def _judge(self, heat: Heat, row: int, fold: int) -> None:
        rule = self._rule(heat)
        self._may_open()
        rule.notice(row)
        for victim, reason in rule.drops(row, fold):
            self._decide(heat, victim, reason)

    def _failed(self, fold: str, row: int, state: State) -> None:
        """A configuration with a failed fold never has a mean: a rule that stops trains it no further."""
        if state == State.FAILED and self.stops:
            self._decide(self.heats[self._outer[fold]], row, f"fold {fold} failed")

    def _decide(self, heat: Heat, row: int, reason: str) -> None:
        outer = self._names[id(heat)]
        decided = {(drop.config, drop.outer) for drop in self._pending}
        if heat.out[row] or (self.configs[row], outer) in decided:
            return
        broken = bool((heat.state[row] == State.FAILED).any())
        if heat.trained(row) and not broken:
            return
        draw = np.random.default_rng([self.seed, row, 1]).random()
        audited = (row in self.firsts or draw < self.settings.audit) and not broken
        self._pending.append(Dropped(self.configs[row], reason, audited, outer))

    def _dropped(self, event: Dropped) -> None:
        if not self._pending or self._pending[0] != event:
            wanted = self._pending[0] if self._pending else "nothing"
            raise SonotuneError(
                f"the journal holds {event} where the race decides {wanted}: "
                "it was written by another version or another spec"
            )
        self._pending.pop(0)
        row = self.rows[event.config]
        self.heats[event.outer].drop(row, event.audited)
        self.reasons[event.outer, row] = event.reason

    def next(self) -> Next:
        """What a free worker should do."""
        if self.stopped is None:
            choice = self._again() or self._choose()
            if choice is not None:
                return choice
        if self.running:
            return Wait()
        return Done(self.stopped or "every configuration is complete or out")

    def _may_open(self) -> bool:
        may_open = self.limit is None or len(self.configs) < self.limit
        for rule in self.rules.values():
            rule.may_open = may_open
        return may_open

    def _again(self) -> Run | None:
        """What was cut off goes on first; where its first stage is lost, that one before it."""
        for task in self.interrupted:
            if self._needed(task):
                first = self._first(task)
                if first not in self.running:
                    return Run(first)
        return None

    def _first(self, task: Task) -> Task:
        return (
            task
            if self.stages.knows(task.key)
            else self.stages.first(task.key, self.rows[task.key], task.fold)
        )

    def _choose(self) -> Run | Open | None:
        may_open = self._may_open()
        for rule in sorted(self.rules.values(), key=lambda rule: rule.heat.started):
            choice = rule.choose(may_open)
            if choice == "open":
                return Open()
            if choice is not None:
                row, fold = choice
                return Run(self.stages.first(self.configs[row], row, rule.heat.folds[fold]))
        return None

    def _needed(self, task: Task) -> bool:
        """Whether anybody still wants this task's result."""
        heat = self.heats[self._outer[task.fold]]
        rows = self.stages.users[task.key] if self.stages.knows(task.key) else [self.rows[task.key]]
        return any(heat.wanted(row) for row in rows)

    def verdict(self, task: Task) -> Verdict:
        """Whether a running task goes on."""
        if not self._needed(task):
            return Stop(self._why(task))
        if self.stopped is not None:
            return Freeze()
        if self.stages.knows(task.key):
            return Continue()
        heat, row, fold = self._place(task)
        self._may_open()
        rule = self._rule(heat)
        if rule.stops_fold(row, fold):
            return Stop(f"{rule.name}: this fold alone")
        return Freeze() if rule.freezes(row, fold) else Continue()

    def _why(self, task: Task) -> str:
        row = self.rows.get(task.key)
        return "nobody needs it" if row is None else self.reasons[outer_of(task.fold), row]

    # -- places ------------------------------------------------------------------------------------

    def _rule(self, heat: Heat) -> TrainAll:
        return self.rules[self._names[id(heat)]]

    @property
    def stops(self) -> bool:
        return next(iter(self.rules.values())).stops

    def _place(self, task: Task) -> tuple[Heat, int, int]:
        if task.key not in self.rows:
            raise SonotuneError(f"{task.folder} is of no opened configuration")
        heat = self.heats[self._outer[task.fold]]
        return heat, self.rows[task.key], heat.column[task.fold]

    def _scores(self, score: float, values: tuple[float, ...]) -> tuple[float, ...]:
        if self.channels == 1:
            return (score,)
        if len(values) != self.channels - 1:
            raise SonotuneError(f"{self.channels - 1} objectives must report as many values, got {values}")
        return (score, *values)

    def mean(self, config: str, outer: str | None = None) -> float | None:
        """Mean score over the folds of a complete configuration; None of any other."""
        mean = self.heats[outer].means[self.rows[config], 0]
        return None if np.isnan(mean) else float(mean)

    def score(self, task: Task) -> float | None:
        """Of a fold that is complete, whoever trained it and when; None of any other."""
        if task.key not in self.rows:
            return None
        heat, row, fold = self._place(task)
        return float(heat.best[row, fold, 0]) if heat.state[row, fold] == State.COMPLETE else None

    def leader(self, outer: str | None = None) -> str | None:
        """The complete configuration with the best mean score; audited ones count like any other."""
        heat = self.heats[outer]
        if not heat.complete:
            return None
        return self.configs[max(heat.complete, key=lambda row: (float(heat.means[row, 0]), -row))]

    def posterior(self, config: str) -> tuple[float, ...] | None:
        """What the sampler is told of a dropped configuration: its expected final mean per objective.

        Fold effects are removed, so that a configuration dropped on a hard fold is not taken for a bad
        one. Nested heats are averaged. None as long as there is nothing to believe.
        """
        row = self.rows[config]
        if not all(rule.forecast.learned for rule in self.rules.values()):
            return None
        channels = range(min(self.channels - 1, 1), self.channels)
        each = [[rule.forecasts[c].final(row)[0] for c in channels] for rule in self.rules.values()]
        return tuple(float(value) for value in np.mean(each, axis=0))

    def audit(self, outer: str | None = None) -> Audit:
        """How many of the audited were wrongly dropped: they ended above the best of the others."""
        heat = self.heats[outer]
        audited = [row for row in heat.complete if heat.audited[row]]
        kept = [float(heat.means[row, 0]) for row in heat.complete if not heat.audited[row]]
        wrong = sum(float(heat.means[row, 0]) > max(kept, default=np.inf) for row in audited)
        return Audit(wrong, len(audited), *clopper_pearson(wrong, len(audited)))
