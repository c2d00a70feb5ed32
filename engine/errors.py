"""The one exception a user is meant to read: a sentence with the value, the rule and the way out."""

import re

MOST_SHOWN = 50  # problems in one message
USER = re.compile(r"(?<=://)(?:[^/\s:@]*:\S*@|[^/\s@]+@)")  # a password may hold a slash or an @
USER_OF_ONE = re.compile(r"(?<=://)[^/:@]*:.*@")
QUERY = re.compile(r"(://[^\s?'\"`]*)\?[^\s'\"`;,)]*(?<!:)")  # a colon behind it is the sentence's


def without_secrets(text: str) -> str:
    """Addresses in it as they may be shown: without user and password, and without a query, which may hold
    keys."""
    return QUERY.sub(r"\1", USER.sub("", text))


def shown(address: str) -> str:
    """The same of an address by itself, in which a space ends nothing."""
    return without_secrets(USER_OF_ONE.sub("", address).partition("?")[0] if "://" in address else address)


class SonotuneError(Exception):
    """A mistake the user can mend. The command line prints it without a traceback and exits with 2. Where the
    storage is named by a URI, what opens it is not for every reader of a screen, a log or a journal."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class StorageError(SonotuneError):
    """The storage of a run does not take or give what it should. That is no configuration's fault: the study
    stops, and a resume goes on."""


def many(title: str, problems: list[str]) -> SonotuneError:
    """All problems of one input at once, so that a user mends a file in one go; not a screen of each row of a
    table that is wrong from its first to its last."""
    if len(problems) == 1:
        return SonotuneError(f"{title}: {problems[0]}")
    rest = len(problems) - MOST_SHOWN
    lines = [*problems[:MOST_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]
    return SonotuneError(
        "\n".join([f"{title}: {len(problems)} problems", *(f"  - {line}" for line in lines)])
    )
