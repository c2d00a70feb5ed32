"""The one exception a user is meant to read: a sentence with the value, the rule and the way out."""


class SonotuneError(Exception):
    """A mistake the user can mend. The command line prints it without a traceback and exits with 2."""


def many(title: str, problems: list[str]) -> SonotuneError:
    """All problems of one input at once, so that a user mends a file in one go."""
    if len(problems) == 1:
        return SonotuneError(f"{title}: {problems[0]}")
    return SonotuneError("\n".join([f"{title}: {len(problems)} problems", *(f"  - {p}" for p in problems)]))
