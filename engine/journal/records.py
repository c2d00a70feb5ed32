"""One journal record as one line: plain JSON that carries its number and ends in its own checksum.

The last record of a commit is marked. Records behind the last mark are from a commit that a crash has cut
short: nothing has followed from them yet, so they count as never written.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from engine.errors import SonotuneError

Record = dict[str, Any]

RESERVED = {"n", "commit"}
MARK = b',"commit":1'
CRC = b',"crc":"%08x"}\n'
CRC_LENGTH = len(CRC % 0)


def encode(number: int, record: Mapping[str, Any]) -> bytes:
    """A line that is not sealed yet."""
    if taken := RESERVED & record.keys():
        raise ValueError(f"a journal record cannot have the keys {sorted(taken)}; the journal uses them")
    return json.dumps({"n": number, **record}, separators=(",", ":"), ensure_ascii=True).encode()[:-1]


def seal(bodies: list[bytes]) -> bytes:
    """One commit. The checksum is a line's last key: the line stays JSON, and all before it is covered."""
    marked = [*bodies[:-1], bodies[-1] + MARK]
    return b"".join(body + CRC % zlib.crc32(body) for body in marked)


def decode(line: bytes, number: int) -> tuple[Record, bool] | None:
    """The record and whether it ends a commit, or None when this is not record `number` as it was written."""
    body = line[:-CRC_LENGTH]
    if not body or line[-CRC_LENGTH:] != CRC % zlib.crc32(body):
        return None
    try:
        record = _parsed(body + b"}")
    except (ValueError, RecursionError):  # a checksum says that a line is whole, not that we wrote it
        return None
    ends = record.pop("commit", None) is not None
    ours = record.pop("n", None) == number and isinstance(record.get("event"), str)
    return (record, ends) if ours else None


def _parsed(text: bytes) -> Any:
    """Pydantic's parser is four times as fast; Python's also takes half a surrogate pair, which the name of a
    file may hold."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


def parse(data: bytes, first: int, name: str) -> tuple[list[Record], int]:
    """The records of all whole commits and where those end; only the last commit may be torn."""
    records: list[Record] = []
    at = sound = committed = 0
    lines = _lines(data)
    for index, line in enumerate(lines, 1):
        found = decode(line, first + len(records))
        at += len(line)
        if found is None:
            if at < len(data) and not _never_written(line, lines[index:]):
                raise SonotuneError(
                    f"{name}, line {len(records) + 1}: the checksum or the number is wrong, so the journal "
                    "is damaged; restore it from a backup, or start a new run that reuses this one's results"
                )
            break
        records.append(found[0])
        if found[1]:
            committed, sound = len(records), at
    return records[:committed], sound


def _never_written(line: bytes, after: list[bytes]) -> bool:
    """A power cut may leave zeros for one page of a commit and keep a later page. That commit is the last
    one, as each is synced before the next is begun."""
    return b"\0" in line and not any(_seals(later) for later in after[:-1])


def _seals(line: bytes) -> bool:
    body = line[:-CRC_LENGTH]
    return body.endswith(MARK) and line[-CRC_LENGTH:] == CRC % zlib.crc32(body)


def _lines(data: bytes) -> list[bytes]:
    """Cut at newlines alone: a damaged byte may look like another kind of line end."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def dropped(name: str, torn: int) -> str:
    return (
        f"{name}: its last commit was cut short and is dropped ({torn} bytes); what it recorded is done again"
    )
