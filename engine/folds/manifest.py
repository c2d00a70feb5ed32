"""Who trains, who validates and who tests in each fold, as a file that another study can use."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from engine.errors import SonotuneError

SCHEMA = 1


@dataclass(frozen=True)
class Fold:
    """Names of cases. `r0-f2` is repeat 0, fold 2; `o1-r0-f2` the same inside outer fold 1."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    repeat: int
    fold: int
    outer: int | None = None

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @cached_property
    def digest(self) -> str:
        """Of its cases, of which there may be thousands, for the address of each of its results."""
        return hashlib.sha256(json.dumps(self.parts).encode()).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """All folds of a study. `finals` are the outer folds of a nested design: there a choice is tested."""

    folds: tuple[Fold, ...]
    classes: tuple[str, ...]
    seed: int
    finals: tuple[Fold, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of who lies where, not of the words about it: the same split has the same digest everywhere."""
        body = {"classes": self.classes, "folds": [asdict(f) for f in (*self.folds, *self.finals)]}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(fold.name for fold in self.folds)

    @property
    def ratio(self) -> float:
        """Validation cases for each training case."""
        return sum(len(f.validation) for f in self.folds) / sum(len(f.train) for f in self.folds)

    def fold(self, name: str) -> Fold:
        known = {fold.name: fold for fold in (*self.folds, *self.finals)}
        if name not in known:
            raise SonotuneError(f"there is no fold {name}; the folds are {', '.join(known)}")
        return known[name]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, "digest": self.digest} | asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str, source: str = "folds.json") -> "Manifest":
        """Refuses what was changed by hand without its digest, or comes from another version."""
        try:
            record = json.loads(text)
            schema, digest = record.pop("schema"), record.pop("digest")
            manifest = _manifest(record) if schema == SCHEMA else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SonotuneError(f"{source} is not a fold manifest of sonotune ({error})") from error
        if manifest is None:
            raise SonotuneError(f"{source} has schema {schema}, this sonotune reads {SCHEMA}")
        if manifest.digest != digest:
            raise SonotuneError(f"{source} does not match its own digest; it is damaged or was edited")
        return manifest


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a fold: it names folders


def _manifest(record: dict[str, Any]) -> Manifest:
    def folds(rows: list[dict[str, Any]]) -> tuple[Fold, ...]:
        parts = ("train", "validation", "test")
        made = [Fold(**(row | {part: _texts(row[part]) for part in parts})) for row in rows]
        if bad := [fold.name for fold in made if not NAME.fullmatch(fold.name)]:
            raise ValueError(f"a fold is named {bad[0]!r}")
        return tuple(made)

    words = {name: _texts(record[name]) for name in ("classes", "notes", "warnings")}
    return Manifest(
        folds=folds(record["folds"]), finals=folds(record["finals"]), seed=int(record["seed"]), **words
    )


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of names is something else")
    return tuple(values)
