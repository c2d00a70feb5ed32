"""Everything a race ever learns, as plain values that a journal can hold.

A race is told of the world by these events alone, so that the same journal gives the same decisions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.task import Task

Status = Literal["complete", "diverged", "failed", "stopped", "frozen", "interrupted"]


@dataclass(frozen=True)
class Opened:
    """A configuration has entered."""

    config: str
    epochs: int
    prerequisite: str | None = None  # key of the first stage that each of its folds needs
    first: bool = False  # asked for by the user (`search.first`)


@dataclass(frozen=True)
class Started:
    """A worker has taken up a task, new, frozen or interrupted."""

    task: Task


@dataclass(frozen=True)
class Reported:
    """One epoch of a task. Higher is better; `values` are the single objectives when there are several.

    `cost` is what a picking rule that prefers cheap configurations goes by, and `fits` whether the bounds of
    `search.constraints` hold, both as far as they are known by now.
    """

    task: Task
    epoch: int
    score: float
    values: tuple[float, ...] = ()
    stage: str = "main"
    cost: float | None = None
    fits: bool = True


@dataclass(frozen=True)
class Ended:
    """A task has left its worker. `score` is the best of its epochs, by the rule of `Reported.score`; `cost`
    and `fits` are as there, and now all that they go by has been measured."""

    task: Task
    status: Status
    score: float | None = None
    values: tuple[float, ...] = ()
    cost: float | None = None
    fits: bool = True


@dataclass(frozen=True)
class Lost:
    """What a fold had reached is gone (a damaged file): it is trained again from its start."""

    task: Task


@dataclass(frozen=True)
class Dropped:
    """A decision of the race: this configuration is out. An audited one is finished all the same. In other
    words, as another version may have them, it is the same decision."""

    config: str
    reason: str = field(compare=False)
    audited: bool = False
    outer: str | None = None  # of nested folds: out in the race of this outer fold only


@dataclass(frozen=True)
class Stopped:
    """The study's budget is spent, or its user has stopped it: nothing new is handed out."""

    reason: str


@dataclass(frozen=True)
class Limited:
    """How many configurations may be opened from now on in all; lifts an earlier `Stopped`."""

    configs: int | None


@dataclass(frozen=True)
class Resumed:
    """The driver has started again: whatever was running is not."""


Event = Opened | Started | Reported | Ended | Lost | Dropped | Stopped | Limited | Resumed

KINDS: dict[str, type] = {
    kind.__name__.lower(): kind
    for kind in (Opened, Started, Reported, Ended, Lost, Dropped, Stopped, Limited, Resumed)
}


UNSAID = (("cost", None), ("fits", True))


def to_record(event: Event) -> dict[str, Any]:
    """A flat record of JSON types: {"event": "started", "task": {"key": ..., "fold": ...}}."""
    record: dict[str, Any] = {"event": type(event).__name__.lower(), **asdict(event)}
    if isinstance(event, Reported):  # by far the most frequent; only its first has more to say
        record = {name: value for name, value in record.items() if (name, value) not in UNSAID}
    if "values" in record:
        record["values"] = list(record["values"])
    return record


def from_record(record: Mapping[str, Any], beside: frozenset[str] = frozenset()) -> Event:
    """The event of a record made by `to_record`; only what may lie `beside` it may have other names."""
    fields = dict(record)
    kind = KINDS.get(fields.pop("event", ""))
    for name in beside & fields.keys():
        del fields[name]
    if kind is None:
        raise ValueError(f"race events are {', '.join(KINDS)}, got {record.get('event')!r}")
    if "task" in fields:
        fields["task"] = Task(**fields["task"])
    if "values" in fields:
        fields["values"] = tuple(fields["values"])
    event: Event = kind(**fields)
    return event
