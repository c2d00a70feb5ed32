"""Cells of tables that must be numbers: folds and pixel spacing."""

import math
from dataclasses import replace

from engine.data.cases import Case, Problem

WIDEST = 10.0  # mm per pixel; a larger number is a mistake of the unit


def read_fold(text: str) -> int | None:
    """Spreadsheets write 3 as 3.0; anything but a whole number from 0 is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number < 1000 else None


def read_spacing(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 < number <= WIDEST else None


def without_gaps(cases: list[Case]) -> tuple[list[Case], list[Problem]]:
    """Folds counted from 0, whether the table counts from 0 or from 1. A gap means a mistyped number."""
    used = sorted({case.fold for case in cases if case.fold is not None})
    start = used[0] if used and used[0] in (0, 1) else 0
    good = {fold for index, fold in enumerate(used) if fold == start + index}
    last = max(good, default=start)
    bad = [case for case in cases if case.fold is not None and case.fold not in good]
    problems = [
        Problem(
            case.name,
            case.image.name,
            "fold",
            f"has fold {case.fold}; folds run from {start} to {last} in steps of 1",
        )
        for case in bad
    ]
    lost = {case.name for case in bad}
    kept = [
        case if case.fold is None else replace(case, fold=case.fold - start)
        for case in cases
        if case.name not in lost
    ]
    return kept, problems
