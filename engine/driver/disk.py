"""Keeps a run's checkpoints within bounds while it runs: a long search must not fill the disk."""

import logging
from collections.abc import Collection

from engine.conductor import Conductor
from engine.errors import StorageError
from engine.finals import objectives_of
from engine.picking import outer_rule
from engine.race.outcome import is_useless, mean, outcome
from engine.results import RunPaths
from engine.storage import Storage

log = logging.getLogger("sonotune")


class Keeper:
    """Checkpoints of configurations that are out or have failed go at once, of complete ones all but the best
    few's, and with them those of first stages on which nothing of that builds. What would be picked by now is
    among the best few whatever its mean: `predict` and outer folds go on with it. Where the rule reads what
    only a report knows, any complete configuration may be picked and none is deleted."""

    def __init__(self, storage: Storage, conductor: Conductor, most: int) -> None:
        self.storage, self.conductor, self.most = storage, conductor, most
        select = conductor.study.fixed.select
        self.foreseen = outer_rule(select, objectives_of(conductor.study)) == select.rule
        self.race = conductor.race
        self.kept = self._complete(self.storage.list(RunPaths.checkpoints))
        self.pruned: set[str] = set()  # first stages whose checkpoints are gone
        self.told = False  # of what cannot be deleted

    def ended(self, key: str) -> None:
        """One of this configuration's folds has left its worker."""
        self.pruned.discard(key)
        if key in self.conductor.stages or self._runs(key):
            return
        if is_useless(self.race, key):
            self._discard_unless_picked([key])
        elif mean(self.race, key) is not None:
            self.kept.add(key)
            for loser in self._losers():
                self._discard(loser)
        self._prune_stages()

    def sweep(self) -> None:
        """At the end of a session: a worker that was stopped may have written one more checkpoint."""
        there = self.storage.list(RunPaths.checkpoints)
        self.kept = self._complete(there)
        self.pruned.clear()
        losers = set(self._losers())
        self._discard_unless_picked([key for key in there if key in losers or is_useless(self.race, key)])
        self._prune_stages()

    def _complete(self, keys: Collection[str]) -> set[str]:
        """A session that goes on finds those of the ones before it."""
        return {key for key in keys if key in self.conductor.entries and mean(self.race, key) is not None}

    def _discard_unless_picked(self, keys: Collection[str]) -> None:
        """What failed or was dropped in one outer fold may be the pick of another."""
        picks = self.conductor.picks() if keys else ()
        for key in keys:
            if key not in picks:
                self._discard(key)

    def _prune_stages(self) -> None:
        """Of the idle ones those used last stay, since a configuration yet to come may share them."""
        idle = self._idle_stages() if self.conductor.stages else []
        for key in idle[: max(0, len(idle) - self.most)]:
            if key not in self.pruned:
                self._delete(key)
                self.pruned.add(key)

    def _idle_stages(self) -> list[str]:
        """In the order in which they were used last."""
        idle: dict[str, bool] = {}
        picks = self.conductor.picks()
        for key, entry in self.conductor.entries.items():
            stage = entry.configuration.first_stage
            if stage is not None:
                idle[stage.key] = idle.pop(stage.key, True) and self._done_with(key, picks)
        return [key for key, unused in idle.items() if unused and not self._runs(key)]

    def _done_with(self, config: str, picks: Collection[str]) -> bool:
        return config not in self.kept and config not in picks and outcome(self.race, config) is not None

    def _runs(self, key: str) -> bool:
        return any(task.key == key for task in self.conductor.running)

    def _losers(self) -> list[str]:
        """The outer folds of a nested design may have more picks than are kept; their finals train on."""
        if not self.foreseen:
            return []
        picks = self.conductor.picks()
        ranked = sorted(self.kept, key=lambda key: (key not in picks, -(mean(self.race, key) or 0.0), key))
        return [key for key in ranked[self.most :] if key not in picks and not self._runs(key)]

    def _discard(self, key: str) -> None:
        self.kept.discard(key)
        self._delete(key)

    def _delete(self, key: str) -> None:
        """The search can do without, as long as there is room; it is said once."""
        try:
            self.storage.delete(f"{RunPaths.checkpoints}/{key}")
        except StorageError as error:
            if not self.told:
                log.warning("%s; checkpoints that cannot be deleted stay and take up room", error)
            self.told = True
