"""What becomes of an error of a storage.

What may pass by itself (a lost connection, an overloaded server) is tried again for a while. What does
not (no rights, no room, no such bucket) is an error at once that says what to do.
"""

import errno
import os
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from engine.errors import SonotuneError, StorageError

Result = TypeVar("Result")

PAUSES = (0.1, 0.3, 1.0, 3.0, 9.0)  # seconds before each further try, more or less
PASSING = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.ECONNRESET}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}

OURS = (TypeError, ValueError, AttributeError, MemoryError)  # mistakes of the program, not of a storage

# What object stores say in text, as pyarrow's error numbers do not tell these apart.
SAID_NO_RIGHTS = re.compile(
    r"ACCESS_DENIED|AccessDenied|Forbidden|Unauthorized|INVALID_ACCESS_KEY|InvalidAccessKey|SIGNATURE"
    r"|SignatureDoesNotMatch|HTTP (response |status )?40[13]",
    re.IGNORECASE,
)
# S3 says why only where an answer has a body, and that of a HEAD has none: there 400 is all that it says.
NOT_ACCEPTED = {
    "the bucket lies in another region; put that into the URI, ?region=…": re.compile(
        r"PermanentRedirect|AuthorizationHeaderMalformed|HTTP status 301", re.IGNORECASE
    ),
    "the credentials have expired or are wrong; renew them": re.compile(
        r"EXPIRED_TOKEN|ExpiredToken|InvalidToken|TokenRefreshRequired|HTTP status 400\) during Head",
        re.IGNORECASE,
    ),
}
SAID_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|bucket does not exist", re.IGNORECASE)
SAID_NO_ROOM = re.compile(
    r"StorageFull|QuotaExceeded|Insufficient.?Storage|HTTP (response )?507", re.IGNORECASE
)


def persist(action: Callable[[], Result], what: str) -> Result:
    """The action's result, tried again while its error may pass; all tries together take up to 15 seconds."""
    for pause in (*PAUSES, None):
        try:
            return action()
        except (FileNotFoundError, SonotuneError, *OURS):
            raise
        except Exception as error:
            final = _hopeless(error, what)
            if final is None and pause is None:
                final = f"cannot {what}: {error} ({len(PAUSES) + 1} tries); see whether the storage answers"
            if final is not None:
                raise StorageError(final) from error
            time.sleep((pause or 0) * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def _hopeless(error: Exception, what: str) -> str | None:
    """What to do about an error that another try would not mend; None when it may pass by itself."""
    number, text = getattr(error, "errno", None), str(error)
    if number in NO_ROOM or SAID_NO_ROOM.search(text):
        return f"cannot {what}: there is no room left; make room, then resume"
    if SAID_NO_BUCKET.search(text):
        return f"cannot {what}: there is no such bucket; create it or name another"
    for words, said in NOT_ACCEPTED.items():
        if said.search(text):
            return f"cannot {what}: {words} ({text})"
    if number in NO_RIGHTS or SAID_NO_RIGHTS.search(text):
        return f"cannot {what}: the rights are missing; grant them, or check the credentials ({text})"
    if number is not None and number not in PASSING and _is_local(error):
        return f"cannot {what}: {os.strerror(number)}"
    return None


def _is_local(error: Exception) -> bool:
    """The operating system's own errors name a file; those of pyarrow and fsspec do not."""
    return isinstance(error, OSError) and error.filename is not None
