"""How a race and its driver talk: events in (`events.py`), these answers out.

1. Whatever happens is an event: journaled, then given to `apply`, one after the other.
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

from dataclasses import dataclass

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


Next = Open | Run | Wait | Done
Verdict = Continue | Stop | Freeze
