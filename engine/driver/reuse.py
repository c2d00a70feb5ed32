"""Earlier runs whose folds are taken over instead of being trained: named once, known to every resume."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from engine import folder
from engine.errors import SonotuneError, without_secrets
from engine.journal.records import Record
from engine.storage import open_storage

log = logging.getLogger("sonotune")

WHERE = {"region", "scheme", "endpoint_override"}


def check_reuse(places: Sequence[str]) -> None:
    for place in places:
        folder.with_study(place)


def reuse_told(places: Sequence[str]) -> list[Record]:
    """Places with a password in them are not written down: a resume does without them."""
    kept = [place for place in (open_storage(place).location for place in places) if _open(place)]
    return [{"event": "reuse", "places": kept}] if kept else []


def _open(place: str) -> bool:
    """Of a query only what says where the bucket lies is known to be no secret."""
    bare, _, query = place.partition("?") if "://" in place else (place, "", "")
    told = dict(parse_qsl(query))
    return without_secrets(bare) == bare and set(told) <= WHERE and "@" not in unquote(query)


def reuse_in(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is gone by now is said and done without."""
    places = [place for record in records if record["event"] == "reuse" for place in record["places"]]
    return [place for place in places if _there(place)]


def _there(place: str) -> bool:
    try:
        folder.with_study(place)
    except SonotuneError as error:
        log.warning("nothing more is reused of %s: %s", place, error)
        return False
    return True
