"""Seeds by name: each (study, key, fold, purpose) has its own, whatever ran before and on which worker."""

import hashlib


def derive(*names: object) -> int:
    """A 63-bit seed; the same names always give the same one."""
    text = "/".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
