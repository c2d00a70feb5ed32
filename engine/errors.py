"""The one exception a user is meant to read: a sentence with the value, the rule and the way out."""


class SonotuneError(Exception):
    """A mistake the user can mend. The command line prints it without a traceback and exits with 2."""


class StorageError(SonotuneError):
    """The storage of a run does not take or give what it should. That is no configuration's fault: the study
    stops, and a resume goes on."""


def many(title: str, problems: list[str]) -> SonotuneError:
    """All problems of one input at once, so that a user mends a file in one go."""
    if len(problems) == 1:
        return SonotuneError(f"{title}: {problems[0]}")
    return SonotuneError("\n".join([f"{title}: {len(problems)} problems", *(f"  - {p}" for p in problems)]))
