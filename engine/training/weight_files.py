"""Files that networks start from, by content: a path says where a file lies, not what is in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import SonotuneError
from engine.results import digest
from engine.spec.study import Study

BY_NAME = ("none", "imagenet")  # the public files' names hold their sha256

Digests = Mapping[str, str]  # path -> sha256
NO_FILES: Digests = {}


def paths_in(record: Any) -> Iterator[str]:
    """Whatever stands below a key `weights`, at any depth of a configuration's record."""
    if isinstance(record, Mapping):
        for name, below in record.items():
            if name == "weights" and isinstance(below, str) and below not in BY_NAME:
                yield below
            yield from paths_in(below)


def named(study: Study) -> list[str]:
    records = (study.configuration(params).record() for params in study.space.probes())
    return sorted({path for record in records for path in paths_in(record)})


def digests(study: Study) -> dict[str, str]:
    """Of every file that a configuration of this study may start from; those that are not there are refused
    elsewhere."""
    places = {path: Path(path).expanduser() for path in named(study)}
    return {path: digest(place.read_bytes()) for path, place in places.items() if place.is_file()}


def check(known: Digests, study: Study) -> None:
    """A run goes on with the files that it began with. One that is gone is missed by whoever needs it."""
    for path, now in digests(study).items():
        if now != known.get(path, now):
            raise SonotuneError(
                f"weights: {path} is another file than when this run began (sha256 {now[:12]}, was "
                f"{known[path][:12]}); put the old file back, or start a new run"
            )


def check_places(study: Study, address: str | None) -> None:
    """Workers of a Ray of our own run in this very folder, those of a cluster wherever Ray was started."""
    for path in named(study) if address else ():
        if not Path(path).expanduser().is_absolute():
            raise SonotuneError(
                f"weights: {path} would be looked for in another folder by each node of a cluster; with "
                "--address it must be an absolute path, the same on every node"
            )
