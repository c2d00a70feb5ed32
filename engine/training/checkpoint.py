"""A fold's progress on storage: whole files, no pickled code, thrown away when damaged."""

import io
import logging
from typing import Any

import torch

from engine.results import digest
from engine.storage import Storage

log = logging.getLogger("sonotune")


def save(storage: Storage, path: str, state: dict[str, Any]) -> None:
    """The digest stands before the bytes, so that a flipped bit is found before torch reads it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    storage.write(path, digest(data).encode() + data)


def load(storage: Storage, path: str, device: str) -> dict[str, Any] | None:
    """None where there is none, or where it is damaged: the fold then starts afresh."""
    if not storage.exists(path):
        return None
    data = storage.read(path)
    head, body = data[:64], data[64:]
    if digest(body).encode() != head:
        log.warning("the checkpoint %s is damaged; its fold starts afresh", path)
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
    except Exception as error:  # torch lets through whatever its reader stumbled over
        log.warning("the checkpoint %s cannot be read (%s); its fold starts afresh", path, error)
        return None
    return state
