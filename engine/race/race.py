"""The decision machine: events in, decisions out. No clock, no Ray, no randomness but the seed's.

What it is told and answers is in `protocol.py`; what it knows of the study is its `field`; what it decides
is its rule's (`rules.py`). It is a pure function of the events applied.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

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
from engine.race.field import Field, Place, by_outer, outer_of
from engine.race.heat import State
from engine.race.none import Setting, TrainAll
from engine.race.protocol import Continue, Done, Freeze, Next, Open, Run, Stop, Verdict, Wait
from engine.race.rules import make_rule
from engine.spec import race as spec
from engine.task import Task


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
        channels = 1 if objectives == 1 else 1 + objectives
        self.rules = {
            outer: make(settings, Setting(members, seed, channels, pick, learns))
            for outer, members in by_outer(folds).items()
        }
        self.field = Field({outer: rule.heat for outer, rule in self.rules.items()}, channels)
        self.stopped: str | None = None
        self.reasons: dict[tuple[str | None, int], str] = {}
        self._pending: deque[Dropped] = deque()
        self._decided: set[tuple[str | None, int]] = set()

    # -- events ------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take notice of one event; what follows from it is in `decisions()`."""
        if isinstance(event, Dropped):
            return self._dropped(event)
        if self._pending:
            raise _misfit(event, self._pending[0])
        if isinstance(event, Reported):
            place = self.field.report(event)
            self._rule_out(event)
            return self._judge(place)
        if isinstance(event, Started):
            return self.field.start(event)
        if isinstance(event, Ended):
            return self._ended(event)
        if isinstance(event, Opened):
            return self._failed(self.field.open(event))
        if isinstance(event, Lost):
            return self._failed(self.field.lose(event))
        return self._ruled(event)

    def _ruled(self, event: Stopped | Limited | Resumed) -> None:
        if isinstance(event, Stopped):
            self.stopped = event.reason
        elif isinstance(event, Limited):
            self.limit, self.stopped = event.configs, None
        else:
            for task in tuple(self.field.running):
                self._ended(Ended(task, "interrupted"))

    def _ended(self, event: Ended) -> None:
        self._failed(self.field.end(event))
        self._rule_out(event)
        if event.status == "complete" and not self.field.stages.knows(event.task.key):
            self._judge(self.field.place(event.task))

    def _dropped(self, event: Dropped) -> None:
        if not self._pending or self._pending[0] != event:
            raise _misfit(event, self._pending[0] if self._pending else "nothing")
        self._pending.popleft()
        row = self.field.rows[event.config]
        self._decided.discard((event.outer, row))
        self.rules[event.outer].heat.drop(row, event.audited)
        self.reasons[event.outer, row] = event.reason

    # -- decisions ---------------------------------------------------------------------------------

    def decisions(self) -> tuple[Dropped, ...]:
        """What the events so far ask for and no event has yet said was done."""
        return tuple(self._pending)

    def decision(self) -> Dropped | None:
        """The first of them."""
        return self._pending[0] if self._pending else None

    def _judge(self, place: Place | None) -> None:
        if place is None:
            return
        rule = self.rules[place.outer]
        self._may_open()
        rule.notice(place.row)
        for victim, reason in rule.drops(place.row, place.fold):
            self._decide(place.outer, victim, reason)

    def _failed(self, places: list[Place]) -> None:
        """A configuration with a failed fold never has a mean: a rule that stops trains it no further."""
        for place in places:
            rule = self.rules[place.outer]
            if rule.stops:
                self._decide(place.outer, place.row, f"fold {rule.heat.folds[place.fold]} failed")

    def _rule_out(self, event: Reported | Ended) -> None:
        """What breaks a bound cannot be picked, whatever it scores."""
        row = None if event.fits else self.field.rows.get(event.task.key)
        for outer, rule in self.rules.items():
            if row is not None and rule.stops:
                self._decide(outer, row, "it breaks a bound of search.constraints")

    def _decide(self, outer: str | None, row: int, reason: str) -> None:
        heat = self.rules[outer].heat
        if heat.out[row] or heat.trained(row) or (outer, row) in self._decided:
            return
        failed = bool((heat.state[row] == State.FAILED).any())
        audited = not failed and (row in self.field.firsts or (not heat.unfit[row] and self._audits(row)))
        self._decided.add((outer, row))
        self._pending.append(Dropped(self.field.configs[row], reason, audited, outer))

    def _audits(self, row: int) -> bool:
        """A share of the dropped, drawn by row and seed alone, is finished so that errors can be counted."""
        if self.settings.audit == 0:
            return False
        return float(np.random.default_rng([self.seed, row, 1]).random()) < self.settings.audit

    # -- answers -----------------------------------------------------------------------------------

    def next(self) -> Next:
        """What a free worker should do."""
        if self.stopped is None:
            choice = self._again() or self._choose()
            if choice is not None:
                return choice
        if self.field.running:
            return Wait()
        return Done(self.stopped or "every configuration is complete or out")

    def _may_open(self) -> bool:
        may_open = self.limit is None or len(self.field.configs) < self.limit
        for rule in self.rules.values():
            rule.may_open, rule.limited = may_open, self.limit is not None
        return may_open

    def _again(self) -> Run | None:
        """What was cut off goes on first; where its first stage is lost, that one before it."""
        for task in self.field.interrupted:
            if self.field.needed(task):
                first = self.field.first(task)
                if first not in self.field.running:
                    return Run(first)
        return None

    def _choose(self) -> Run | Open | None:
        may_open = self._may_open()
        for rule in sorted(self.rules.values(), key=lambda rule: rule.heat.started):
            choice = rule.choose(may_open)
            if choice == "open":
                return Open()
            if choice is not None:
                row, fold = choice
                return Run(self.field.first(Task(self.field.configs[row], rule.heat.folds[fold])))
        return None

    def verdict(self, task: Task) -> Verdict:
        """Whether a running task goes on."""
        if not self.field.needed(task):
            return Stop(self._why(task))
        if self.stopped is not None:
            return Freeze()
        if self.field.stages.knows(task.key):
            return Continue()
        place = self.field.place(task)
        self._may_open()
        rule = self.rules[place.outer]
        if rule.stops_fold(place.row, place.fold):
            return Stop(f"{rule.name}: this fold alone")
        return Freeze() if rule.freezes(place.row, place.fold) else Continue()

    def _why(self, task: Task) -> str:
        row = self.field.rows.get(task.key)
        return "nobody needs it" if row is None else self.reasons[outer_of(task.fold), row]

    def mean(self, config: str, outer: str | None = None) -> float | None:
        """Mean score over the folds of a complete configuration; None of any other."""
        mean = self.rules[outer].heat.means[self.field.rows[config], 0]
        return None if np.isnan(mean) else float(mean)

    def score(self, task: Task) -> float | None:
        """Of a fold that is complete, whoever trained it and when; None of any other."""
        if task.key not in self.field.rows:
            return None
        outer, row, fold = self.field.place(task)
        heat = self.rules[outer].heat
        return float(heat.best[row, fold, 0]) if heat.state[row, fold] == State.COMPLETE else None

    def leader(self, outer: str | None = None) -> str | None:
        """The complete configuration with the best mean score; audited ones count like any other."""
        heat = self.rules[outer].heat
        if not heat.complete:
            return None
        return self.field.configs[max(heat.complete, key=lambda row: (float(heat.means[row, 0]), -row))]

    def posterior(self, config: str) -> tuple[float, ...] | None:
        """What the sampler is told of a dropped configuration: its expected final mean per objective.

        Fold effects are removed, so that a configuration dropped on a hard fold is not taken for a bad
        one. Nested heats are averaged. None as long as there is nothing to believe.
        """
        row, rules = self.field.rows[config], self.rules.values()
        if not all(rule.forecast.learned for rule in rules):
            return None
        channels = range(min(self.field.channels - 1, 1), self.field.channels)
        each = [[rule.forecasts[c].final(row)[0] for c in channels] for rule in rules]
        return tuple(float(value) for value in np.mean(each, axis=0))


def _misfit(event: Event, wanted: object) -> SonotuneError:
    return SonotuneError(
        f"the journal holds {event} where the race decides {wanted}: "
        "it was written by another version or another spec"
    )
