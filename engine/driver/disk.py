"""Keeps a run's checkpoints within bounds while it runs: a long search must not fill the disk."""

from engine.conductor import Conductor
from engine.results import RunPaths
from engine.storage import Storage


class Keeper:
    """Checkpoints of configurations that are out go at once, of complete ones all but the best few's."""

    def __init__(self, storage: Storage, conductor: Conductor, most: int) -> None:
        self.storage, self.conductor, self.most = storage, conductor, most
        self.kept: set[str] = set()

    def ended(self, key: str) -> None:
        """One of this configuration's folds has left its worker."""
        if key in self.conductor.stages or any(task.key == key for task in self.conductor.running):
            return
        if self.conductor.is_out(key):
            self._discard(key)
        elif self.conductor.mean(key) is not None:
            self.kept.add(key)
            for loser in self._ranked()[self.most :]:
                self._discard(loser)

    def sweep(self) -> None:
        """At the end of a session: a worker that was stopped may have written one more checkpoint."""
        self.kept = {key for key in self.conductor.entries if self.conductor.mean(key) is not None}
        losers = set(self._ranked()[self.most :])
        for key in self.storage.list(RunPaths.checkpoints):
            if key in losers or self.conductor.is_out(key):
                self._discard(key)

    def _ranked(self) -> list[str]:
        return sorted(self.kept, key=lambda key: (-(self.conductor.mean(key) or 0.0), key))

    def _discard(self, key: str) -> None:
        self.kept.discard(key)
        self.storage.delete(f"{RunPaths.checkpoints}/{key}")
