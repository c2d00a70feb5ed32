"""Notices workers that hold a fold and say nothing. Monotonic: a wall clock that jumps ends no fold."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Watch:
    now: Callable[[], float] = time.monotonic
    heard: dict[str, float] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # why: the worker itself cannot say

    def hear(self, trial_id: str) -> None:
        """An epoch has ended, or a worker has just taken the fold."""
        self.heard[trial_id] = self.now()

    def forget(self, trial_id: str) -> None:
        self.heard.pop(trial_id, None)

    def end(self, trial_id: str, timeout: float) -> str:
        self.forget(trial_id)
        self.ended[trial_id] = f"no epoch has ended for {timeout:g} seconds (train.timeout)"
        return self.ended[trial_id]

    def silence(self, trial_id: str) -> float:
        """Seconds since it was heard last; a first question counts as its first word."""
        return self.now() - self.heard.setdefault(trial_id, self.now())
