"""One journal record as one line: plain JSON that carries its number and ends in its own checksum."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from engine.errors import SonotuneError

Record = dict[str, Any]

CRC = b',"crc":"%08x"}\n'
CRC_LENGTH = len(CRC % 0)


def encode(number: int, record: Mapping[str, Any]) -> bytes:
    """One line; the checksum is its last key, so that the line is plain JSON and covers all before it."""
    if "n" in record:
        raise ValueError("a journal record cannot have a key `n`; it holds the record's number")
    body = json.dumps({"n": number, **record}, separators=(",", ":"), ensure_ascii=True).encode()[:-1]
    return body + CRC % zlib.crc32(body)


def decode(line: bytes, number: int) -> Record | None:
    """The record without its bookkeeping, or None when the line is not record `number` as written."""
    body = line[:-CRC_LENGTH]
    if not body or line[-CRC_LENGTH:] != CRC % zlib.crc32(body):
        return None
    record = json.loads(body + b"}")
    return record if record.pop("n", None) == number else None


def parse(data: bytes, first: int, name: str) -> tuple[list[Record], int]:
    """The records of one file and the length of its sound part; only its last line may be torn."""
    records: list[Record] = []
    sound = 0
    for line in _lines(data):
        record = decode(line, first + len(records))
        if record is None:
            if sound + len(line) < len(data):
                raise SonotuneError(
                    f"{name}, line {len(records) + 1}: the checksum or the number is wrong, so the journal "
                    "is damaged; restore it from a backup, or start a new run that reuses this one's results"
                )
            break
        records.append(record)
        sound += len(line)
    return records, sound


def _lines(data: bytes) -> list[bytes]:
    """Cut at newlines alone: a damaged byte may look like another kind of line end."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def dropped(name: str, torn: int) -> str:
    return f"{name}: the last line was torn ({torn} bytes) and is dropped; what it recorded is done again"
