"""What a run folder says, as plain data: configurations, their finished folds, the rows of their cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from engine.errors import SonotuneError
from engine.results import FoldResult, RunPaths, measured
from engine.storage import Storage
from engine.task import Task

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Problem:
    """Something of the run folder that the report does without."""

    where: str
    what: str


@dataclass(frozen=True)
class Config:
    """One configuration and how far it came. `folds` are its finished folds, by fold name."""

    id: str
    config: Mapping[str, Any]
    status: str  # complete | dropped | failed | diverged | partial
    folds: Mapping[str, FoldResult]
    reason: str = ""
    home: Storage | None = None  # another run's storage, where several runs lie side by side
    key: str = ""  # its folder there, where the id had to be told apart
    run: str = ""

    @property
    def complete(self) -> bool:
        return self.status == "complete"


@dataclass(frozen=True)
class Run:
    """What a run folder says. `configs` are in the order in which they were begun."""

    location: str
    storage: Storage
    name: str
    study: Mapping[str, Any]
    manifest: Mapping[str, Any]
    provenance: Mapping[str, Any]
    journal: tuple[Mapping[str, Any], ...]
    folds: tuple[str, ...]
    classes: tuple[str, ...]
    configs: tuple[Config, ...]
    stages: tuple[FoldResult, ...]  # first stages that configurations share
    finals: tuple[FoldResult, ...] = ()  # outer folds of a nested design, each trained by its own pick
    problems: tuple[Problem, ...] = field(default=())
    out: Storage | None = None  # for its report, where that is not the run folder

    @cached_property
    def by_id(self) -> dict[str, Config]:
        return {config.id: config for config in self.configs}

    @cached_property
    def complete(self) -> tuple[Config, ...]:
        return tuple(config for config in self.configs if config.complete)

    def find(self, name: str) -> Config:
        """A configuration by its id, by an unambiguous start of it, or the word `first`."""
        if name == "first" and self.configs:
            return self.configs[0]
        if name in self.by_id:
            return self.by_id[name]
        found = [config for config in self.configs if config.id.startswith(name)]
        if len(found) != 1:
            known = ", ".join(c.id for c in self.configs[:12]) or "none"
            raise SonotuneError(f"{self.name} has {len(found)} configurations named {name!r}; it has {known}")
        return found[0]

    def cases(self, config: str, fold: str, split: str, columns: Sequence[str] | None = None) -> pa.Table:
        return self._table(config, fold, f"cases_{split}.parquet", columns)

    def epochs(self, config: str, fold: str) -> pa.Table:
        return self._table(config, fold, "epochs.parquet", None)

    def place(self, config: str, fold: str) -> tuple[Storage, str]:
        """The storage and the folder of a fold's result."""
        entry = self.by_id[config]
        return entry.home or self.storage, RunPaths.result(Task(entry.key or config, fold))

    def _table(self, config: str, fold: str, name: str, columns: Sequence[str] | None) -> pa.Table:
        storage, folder = self.place(config, fold)
        source = pa.BufferReader(storage.read(f"{folder}/{name}"))
        wanted = list(columns) if columns else None
        return measured(source, f"{folder}/{name}").read(wanted, use_threads=False)

    def sizes(self) -> dict[str, dict[str, int]]:
        """How many cases each part of each fold has, as far as the manifest says."""
        rows = fold_rows(self.manifest)
        return {
            row["name"]: {part: len(row.get(part) or ()) for part in ("train", "validation", "test")}
            for row in rows
        }


def fold_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = manifest.get("folds")
    return [r for r in rows if isinstance(r, dict) and "name" in r] if isinstance(rows, list) else []
