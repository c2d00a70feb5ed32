"""How many of a thing there are, in words that are true of one as of many."""


def plural(count: float, noun: str) -> str:
    return f"{count:,.0f} {noun}{'s' * (count != 1)}"
