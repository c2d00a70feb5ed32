"""What a data set is to the rest of the engine: cases as found on disk, and all of them packed as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

Colours = tuple[tuple[str, tuple[int, int, int]], ...]
"""Which colour of a mask means which class, for data sets that paint their masks."""

NORMAL = "normal"
"""The class without a lesion; every other class has one."""


@dataclass(frozen=True)
class Case:
    """One image as a source describes it, before anything is decoded. Several masks are united."""

    name: str
    image: Path
    masks: tuple[Path, ...]
    label: str
    patient: str | None = None
    fold: int | None = None
    spacing: float | None = None  # mm per original pixel
    colours: Colours = ()


@dataclass(frozen=True)
class Problem:
    """A case that cannot be used: the file, and the rule it breaks. `--skip-broken` leaves such cases out."""

    case: str
    file: str
    rule: str
    """A short name that programs can count by, such as `unreadable`."""
    text: str

    def __str__(self) -> str:
        """Names of files need not be text; what is not is shown as its bytes."""
        told = f"{self.file}: {self.text} [{self.rule}]"
        return told.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Found:
    """What a source says of its folder: nothing is decoded yet."""

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """Everything training needs. The arrays are read-only views of a memory map or of an object store."""

    images: np.ndarray  # uint8 [N, S, S]
    masks: np.ndarray  # uint8 [N, S, S], 0 or 1
    labels: np.ndarray  # int64 [N], index into `classes`
    cases: tuple[str, ...]
    classes: tuple[str, ...]
    patients: tuple[str | None, ...]
    groups: tuple[str | None, ...]  # of duplicates; None is a case without any
    sizes: np.ndarray  # int32 [N, 2], height and width in original pixels that the packed square covers
    spacing: np.ndarray  # float64 [N], mm per original pixel, NaN where unknown
    official: tuple[int | None, ...]  # the test fold that the data set's authors gave the case
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cases)
