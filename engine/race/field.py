"""Who is in the race and how far each has come: the events of the world, kept as they come. No decisions."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import SonotuneError
from engine.race.events import Ended, Lost, Opened, Reported, Started
from engine.race.heat import Heat, State
from engine.race.stages import Stages
from engine.task import Task

ENDINGS = {
    "complete": State.COMPLETE,
    "diverged": State.FAILED,
    "failed": State.FAILED,
    "stopped": State.STOPPED,
    "frozen": State.FROZEN,
    "interrupted": State.FROZEN,
}


class Place(NamedTuple):
    """One fold of one configuration."""

    outer: str | None
    row: int
    fold: int


def outer_of(fold: str) -> str | None:
    """The outer fold of a nested fold's name ("o1" of "o1-r0-f2"), None of others."""
    head = fold.split("-")[0]
    return head if head.startswith("o") else None


def by_outer(folds: Sequence[str]) -> dict[str | None, tuple[str, ...]]:
    groups: dict[str | None, tuple[str, ...]] = {}
    for fold in folds:
        groups[outer_of(fold)] = (*groups.get(outer_of(fold), ()), fold)
    return groups


class Field:
    """Configurations by row, tasks that run or were cut off, shared first stages, a heat per outer fold."""

    def __init__(self, heats: dict[str | None, Heat], channels: int) -> None:
        self.heats, self.channels = heats, channels
        self.outer = {fold: outer for outer, heat in heats.items() for fold in heat.folds}
        self.rows: dict[str, int] = {}
        self.configs: list[str] = []
        self.firsts: set[int] = set()  # what the user asked for is finished, dropped or not
        self.running: dict[Task, None] = {}
        self.interrupted: dict[Task, None] = {}
        self.stages = Stages()

    def place(self, task: Task) -> Place:
        if task.key not in self.rows:
            raise SonotuneError(f"{task.folder} is of no opened configuration")
        outer = self.outer[task.fold]
        return Place(outer, self.rows[task.key], self.heats[outer].column[task.fold])

    def _move(self, place: Place, state: State) -> None:
        self.heats[place.outer].move(place.row, place.fold, state)

    # -- events: each returns the places where a fold is now known to have failed ------------------

    def open(self, event: Opened) -> list[Place]:
        if event.config in self.rows:
            raise SonotuneError(f"configuration {event.config} was opened twice")
        row = self.rows[event.config] = len(self.configs)
        self.configs.append(event.config)
        if event.first:
            self.firsts.add(row)
        for heat in self.heats.values():
            heat.open(event.epochs)
        return [] if event.prerequisite is None else self._follow(event.config, event.prerequisite, row)

    def _follow(self, config: str, prerequisite: str, row: int) -> list[Place]:
        """Where the first stage that it needs has been begun for others, it waits or fails with them."""
        failed = []
        for fold, state in self.stages.need(prerequisite, row):
            place = self.place(Task(config, fold))
            self._move(place, state)
            failed += [place] if state == State.FAILED else []
        return failed

    def start(self, event: Started) -> None:
        """What was cut off goes on as if it never had been: whose turn is next does not hang on it."""
        cut_off = event.task in self.interrupted
        self.interrupted.pop(event.task, None)
        self.running[event.task] = None
        if self.stages.knows(event.task.key):
            return self._stage(event.task, State.RUNNING, State.BLOCKED)
        place = self.place(event.task)
        self._move(place, State.RUNNING)
        self.heats[place.outer].started += not cut_off
        return None

    def report(self, event: Reported) -> Place | None:
        """The place, when it has reached a level at which it is looked at."""
        if self.stages.knows(event.task.key) or event.stage != "main":
            return None
        place = self.place(event.task)
        self._measured(place.row, event)
        scores = self._scores(event.score, event.values)
        seen = self.heats[place.outer].report(place.row, place.fold, event.epoch, scores)
        return place if seen else None

    def end(self, event: Ended) -> list[Place]:
        self.running.pop(event.task, None)
        if event.status == "interrupted":
            self.interrupted[event.task] = None
        if self.stages.knows(event.task.key):
            return self._stage_ended(event)
        place = self.place(event.task)
        heat, row, fold = self.heats[place.outer], place.row, place.fold
        self._measured(row, event)
        if event.status == "complete":
            known = heat.best[row, fold] if event.score is None else self._scores(event.score, event.values)
            heat.finish(row, fold, known)
            return []
        heat.move(row, fold, self._left(place, event))
        return [place] if ENDINGS[event.status] == State.FAILED else []

    def _left(self, place: Place, event: Ended) -> State:
        """What goes on later waits for a first stage that was lost meanwhile and is being trained again."""
        state, follows = ENDINGS[event.status], self.stages.following(place.row, event.task.fold)
        return follows if state == State.FROZEN and follows == State.BLOCKED else state

    def _measured(self, row: int, event: Reported | Ended) -> None:
        for heat in self.heats.values():
            if event.cost is not None:
                heat.cost[row] = event.cost
            if not event.fits:
                heat.rule_out(row)

    def lose(self, event: Lost) -> list[Place]:
        """A fold whose first stage was lost before it waits, or fails, with that one."""
        self.interrupted.pop(event.task, None)
        if self.stages.knows(event.task.key):
            self.interrupted[event.task] = None  # trained again even where whoever built on it is done
            self._stage(event.task, State.WAITING, State.WAITING)
            return []
        place = self.place(event.task)
        self.heats[place.outer].forget(place.row, place.fold)
        state = self.stages.following(place.row, event.task.fold)
        self._move(place, state)
        return [place] if state == State.FAILED else []

    def _stage_ended(self, event: Ended) -> list[Place]:
        state = ENDINGS[event.status]
        if state == State.COMPLETE:
            self._stage(event.task, State.COMPLETE, State.WAITING)
        elif state == State.FAILED:
            self._stage(event.task, state, State.FAILED)
            return self._out_with(event.task)
        else:  # it goes on later, before or after others
            self._stage(event.task, State.FROZEN, State.WAITING)
        return []

    def _out_with(self, stage: Task) -> list[Place]:
        """Who fails with a first stage: not those that were done before it was lost and failed."""
        users = [Task(self.configs[row], stage.fold) for row in self.stages.users[stage.key]]
        out = {task: place for task in users if self._state(place := self.place(task)) == State.FAILED}
        for task in out:
            self.interrupted.pop(task, None)
        return list(out.values())

    def _state(self, place: Place) -> State:
        return State(self.heats[place.outer].state[place.row, place.fold])

    def _stage(self, stage: Task, state: State, followers: State) -> None:
        """A first stage moves, and with it the same fold of whatever needs it."""
        self.stages.move(stage, state)
        begun = () if followers == State.WAITING else (State.FROZEN,)  # their first stage was lost since
        heat = self.heats[self.outer[stage.fold]]
        fold = heat.column[stage.fold]
        for row in self.stages.users[stage.key]:
            if heat.state[row, fold] in (State.WAITING, State.BLOCKED, *begun):
                heat.move(row, fold, followers)

    def _scores(self, score: float, values: tuple[float, ...]) -> tuple[float, ...]:
        if self.channels == 1:
            return (score,)
        if len(values) != self.channels - 1:
            raise SonotuneError(f"{self.channels - 1} objectives must report as many values, got {values}")
        return (score, *values)

    # -- questions ---------------------------------------------------------------------------------

    def first(self, task: Task) -> Task:
        """What must be trained before this task, itself when nothing must."""
        if self.stages.knows(task.key):
            return task
        return self.stages.first(task.key, self.rows[task.key], task.fold)

    def needed(self, task: Task) -> bool:
        """Whether anybody still wants this task's result."""
        heat = self.heats[self.outer[task.fold]]
        rows = self.stages.users[task.key] if self.stages.knows(task.key) else [self.rows[task.key]]
        return any(heat.wanted(row) for row in rows)
