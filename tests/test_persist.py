"""What becomes of an error of a storage: tried again, or told at once with what to do."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import persist as persisting
from engine.errors import SonotuneError
from engine.persist import persist
from engine.storage import LocalStorage


def flaky(failures: list[Exception]) -> Callable[[], str]:
    def action() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    return action


@pytest.mark.parametrize(
    "error",
    [
        OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28, Timeout was reached"),
        OSError("AWS Error SLOW_DOWN during PutObject operation"),
        OSError(errno.EIO, "Input/output error", "/nfs/x"),
        OSError(errno.ESTALE, "Stale file handle", "/nfs/x"),
        OSError(errno.ETIMEDOUT, "Connection timed out", "/nfs/x"),
        OSError(errno.EINVAL, "AWS Error UNKNOWN during PutObject operation: HTTP status 500"),
        ConnectionResetError("peer"),
        RuntimeError("a client library's own kind of error"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, impatient: None) -> None:
    assert persist(flaky([error, error]), "write x") == "done"
    with pytest.raises(SonotuneError, match=r"cannot write x: .*4 tries"):
        persist(flaky([error] * 9), "write x")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no room left; make room"),
        (OSError(errno.EACCES, "Permission denied", "/run/x"), "rights are missing"),
        (OSError(errno.EROFS, "Read-only file system", "/run/x"), "rights are missing"),
        (OSError(errno.EPERM, "Operation not permitted", "/run/x"), "rights are missing"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/run/x"), "no room left"),
        (OSError(errno.EFBIG, "File too large", "/run/x"), "no room left"),
        (OSError(errno.ENOTDIR, "Not a directory", "/run/x"), "Not a directory"),
        (OSError("AWS Error ACCESS_DENIED during PutObject operation"), "rights are missing"),
        (OSError("AWS Error UNKNOWN during PutObject operation: ExpiredToken"), "have expired or are wrong"),
        (OSError("AWS Error UNKNOWN during PutObject operation: QuotaExceeded"), "no room left"),
        (OSError("AWS Error NO_SUCH_BUCKET during PutObject operation"), "no such bucket; create it"),
    ],
)
def test_what_will_not_pass_is_said_at_once(error: Exception, message: str) -> None:
    failures = [error]
    with pytest.raises(SonotuneError, match=message):
        persist(flaky(failures), "write x")
    assert failures == []


def test_what_may_pass_is_given_time_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persisting, "PAUSES", (0.04, 0.08))
    began = time.monotonic()
    persist(flaky([OSError("AWS Error SLOW_DOWN"), OSError("AWS Error SLOW_DOWN")]), "write x")
    assert time.monotonic() - began >= 0.06  # each pause is half of itself at least


@pytest.mark.parametrize("error", [SonotuneError("a path leads out"), MemoryError(), FileNotFoundError("x")])
def test_what_is_no_fault_of_the_storage_is_told_as_it_is_and_at_once(error: Exception) -> None:
    failures = [error, OSError("a second try")]
    with pytest.raises(type(error)) as told:
        persist(flaky(failures), "write x")
    assert told.value is error
    assert len(failures) == 1


def test_a_mistake_of_the_program_is_not_taken_for_one_of_the_storage(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        LocalStorage(tmp_path).write("x", "text")  # type: ignore[arg-type]
