"""The one way in: what happens is journaled, then race, outer folds and sampler learn of it.

Every event is journaled before anything follows from it; events from which nothing follows (a report after
which training simply goes on) wait up to a second, so that they are written together. The journal of an
earlier run takes the same way: the sampler is asked and told and the race's events are applied in the same
order, which leads to the same state; a journal that does not fit is an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import SonotuneError
from engine.finals import FAILED, OVER, Finals
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
    from_record,
    to_record,
)
from engine.race.race import Race
from engine.sampler.sampler import Past as Known
from engine.task import Task

BESIDE = frozenset({"reused", "note", "clock", "held", "gpus", "figures"})  # an event in its record


OF_A_TASK = (Started, Reported, Ended, Lost)
OF_THE_RUN = ("study", "changed", "packed", "reuse")  # read by whoever needs them; no decision follows


@dataclass(frozen=True)
class Past:
    """A fold that was trained before: its epochs' (score, values) and its own."""

    epochs: Sequence[tuple[float, tuple[float, ...]]]
    status: Status
    score: float | None
    values: tuple[float, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


class Ledger:
    """`decided`: since the last commit something was, on which somebody may act. `dropped`: a configuration
    was, since the running tasks were last looked through. `epochs`: trained in this run, whoever drove it.
    `limit`: of configurations, as a driver last set it; the race's is lower once the sampler has no more.
    `heard`: epochs of each task that was begun and is not over; its worker may have stored more. `last`: what
    has happened to the race last, whatever it has decided upon that."""

    def __init__(self, journal: Journal, race: Race, finals: Finals, proposals: Proposals) -> None:
        self.journal, self.race, self.finals, self.proposals = journal, race, finals, proposals
        self.decided = self.dropped = False
        self.epochs = 0
        self.limit = race.limit
        self.heard: dict[Task, int] = {}
        self.last: Event | None = None

    # -- what an earlier run has written -----------------------------------------------------------

    def replay(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Decisions are made anew and compared by the race, under the limit that held when they were made."""
        self.limit = self.race.limit = first_limit(records, self.race.limit)
        for number, record in enumerate(records, 1):
            try:
                self._replay(record)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise SonotuneError(
                    f"record {number} of the journal does not follow from those before it ({error!r}), "
                    "so it is damaged, foreign or of a newer sonotune; go on with the version that wrote "
                    "it, or start a new run that reuses this one's results"
                ) from error
        if (decision := self.race.decision()) is not None:
            self.record(decision)  # and with it all that follow

    def _replay(self, record: Mapping[str, Any]) -> None:
        if record["event"] == "warm":
            self.proposals.warm(Known(**one) for one in record["past"])
        elif record["event"] == "asked":
            self.proposals.ask_again(record["params"])
        elif record["event"] not in OF_THE_RUN:
            self._count(record)
            self._take(from_record(record, BESIDE))

    # -- what happens now --------------------------------------------------------------------------

    def asked(self, number: int, params: Mapping[str, Any]) -> tuple[str, bool]:
        """The configuration that a proposal leads to, and whether it is new."""
        self.journal.append({"event": "asked", "number": number, "params": dict(params)})
        return self.proposals.enter(number, params)

    def resumed(self, configs: int) -> None:
        """A driver has started again, perhaps with another limit. A sampler that had no more has no more
        under the same one: asked again, it would let the race decide as if more were to come."""
        exhausted = self.limit == configs and self.race.limit != self.limit
        self.record(Resumed())
        self.record(Limited(configs))
        if exhausted:
            self.record(Limited(len(self.proposals.entries)))

    def record(self, event: Event, **extra: Any) -> None:
        """`extra` is journaled beside the event and read by no decision of the race."""
        record = to_record(event) | extra
        self.journal.append(record)
        self._count(record)
        self._take(event)
        while (decision := self.race.decision()) is not None:
            self.journal.append(to_record(decision))
            self._take(decision)
            self.decided = self.dropped = True

    def adopt(self, task: Task, past: Past, stage: str, measured: tuple[float | None, bool]) -> None:
        """What was begun in this run was trained in it too: only nobody has heard how it went on."""
        heard = self.heard.get(task, 0)
        mark = {} if task in self.heard else {"reused": True}
        self.record(Started(task), **mark)
        for epoch, (score, values) in enumerate(past.epochs[heard:], heard + 1):
            self.record(Reported(task, epoch, score, values, stage), **mark)
        end = Ended(task, past.status, past.score, past.values, *measured)
        self.record(end, **mark, figures=dict(past.figures))

    def _count(self, record: Mapping[str, Any]) -> None:
        self.epochs += record["event"] == "reported" and "reused" not in record
        if "figures" not in record or record.get("status", "complete") != "complete":
            return  # what diverged or failed has measured nothing
        if not self.finals.knows(Task(**record["task"])):
            self.proposals.measured(record["task"]["key"], record["figures"])

    def _hear(self, event: Event) -> None:
        if isinstance(event, Started):
            self.heard.setdefault(event.task, 0)
        elif isinstance(event, Reported):
            self.heard[event.task] = max(event.epoch, self.heard.get(event.task, 0))
        elif isinstance(event, Lost) or (isinstance(event, Ended) and event.status in OVER):
            self.heard.pop(event.task, None)

    def _take(self, event: Event) -> None:
        self._hear(event)
        if isinstance(event, OF_A_TASK) and self.finals.knows(event.task):
            return self.finals.apply(event)
        if isinstance(event, Resumed):
            self.finals.running.clear()
        if isinstance(event, Limited) and isinstance(self.last, Resumed):
            self.limit = event.configs
        self.last = self.last if isinstance(event, Dropped) else event
        self.race.apply(event)
        if isinstance(event, Ended) and event.status == "complete":
            self.proposals.scored(event.task.key)
        for config in self._over_with(event):
            self.proposals.tell(config)

    def _over_with(self, event: Event) -> list[str]:
        """The configurations that may have come to their end by it; a first stage takes others with it, a
        driver's end the folds that were only to be stopped yet."""
        entries = self.proposals.entries
        if isinstance(event, Resumed):
            return list(entries)
        if isinstance(event, Opened):
            return [event.config] if entries[event.config].stage_key else []
        if isinstance(event, Dropped):
            return [event.config]
        if not isinstance(event, Ended):
            return []
        if event.task.key in entries:
            return [event.task.key]
        if event.status not in FAILED:
            return []
        return [key for key, entry in entries.items() if entry.stage_key == event.task.key]

    # -- when it is written ------------------------------------------------------------------------

    def commit(self) -> None:
        """What was decided is durable before anybody acts on it."""
        self.journal.commit()
        self.decided = False
        self.proposals.flush()

    def commit_soon(self) -> None:
        """Lost in a crash, these events cost nothing: the fold's checkpoint or result is on storage."""
        if self.decided:
            self.commit()
        else:
            self.journal.commit_soon()

    def flush(self) -> None:
        """To be called now and then: what waits to be written may be all there is."""
        self.journal.commit_soon()

    def close(self) -> None:
        try:
            self.journal.close()
        finally:
            self.proposals.close()


def first_limit(records: Sequence[Mapping[str, Any]], present: int | None) -> int | None:
    """How many configurations the run was to have when it began; further limits are events of the race."""
    changed = (record for record in records if record.get("event") == "changed")
    return next((record["configs"] for record in changed if "configs" in record), present)
