"""First stages that configurations share: who needs which, and how far each is on each fold."""

from engine.race.heat import State
from engine.task import Task

FOLLOW = {State.RUNNING: State.BLOCKED, State.FAILED: State.FAILED}  # first stage: whatever needs it


class Stages:
    """Keys of first stages, their state per fold, and the rows of the configurations that need them."""

    def __init__(self) -> None:
        self.users: dict[str, list[int]] = {}
        self._needs: dict[int, str] = {}
        self._states: dict[str, dict[str, State]] = {}

    def knows(self, key: str) -> bool:
        return key in self.users

    def need(self, key: str, row: int) -> list[tuple[str, State]]:
        """A configuration enters that needs `key`; how its folds stand, where that stage was begun."""
        self.users.setdefault(key, []).append(row)
        self._needs[row] = key
        begun = self._states.get(key, {}).items()
        return [(fold, FOLLOW[state]) for fold, state in begun if state in FOLLOW]

    def following(self, row: int, fold: str) -> State:
        """How a fold stands that is to be trained from its start, as its first stage has it."""
        stage = self._states.get(self._needs.get(row, ""), {}).get(fold, State.WAITING)
        return FOLLOW.get(stage, State.WAITING)

    def move(self, stage: Task, state: State) -> None:
        self._states.setdefault(stage.key, {})[stage.fold] = state

    def first(self, config: str, row: int, fold: str) -> Task:
        """The task to hand out for a configuration's fold: its first stage while that is not done."""
        key = self._needs.get(row)
        if key is None or self._states.get(key, {}).get(fold) == State.COMPLETE:
            return Task(config, fold)
        return Task(key, fold)
