"""The unit of work: one key (a configuration, or a shared first stage) trained on one fold."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Task:
    """`key` is a configuration's id or the id of a first stage that several configurations share."""

    key: str
    fold: str  # "r0-f2": repeat 0, fold 2; nested "o1-r0-f2"

    @property
    def folder(self) -> str:
        return f"{self.key}/{self.fold}"
