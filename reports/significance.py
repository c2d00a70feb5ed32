"""Whether the pick is better than the baseline and the runners-up, by tests that fit cross-validation.

Fold figures: Nadeau and Bengio's corrected resampled t-test, since folds share training cases. Cases:
Wilcoxon's signed ranks for Dice, McNemar's exact test for right and wrong classes. Holm over all of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from engine.picking import corrected_error, t_quantile
from reports import own
from reports.aggregate import Figures
from reports.measures import DIGITS, higher_is_better, label
from reports.stack import Stack
from reports.tables import Column, Table

FOLD_METRICS = ("dice", "f1_macro", "accuracy", "hd95")
ROUNDING = 10.0**-DIGITS
Row = dict[str, Any]


def corrected_t(differences: np.ndarray, ratio: float, confidence: float) -> Mapping[str, float]:
    """Paired over folds × repeats; n − 1 degrees; `ratio` is n_test/n_train of the training parts.

    Folds that all differ by the same have no spread to judge their mean by, however few they are.
    """
    n, mean = len(differences), float(differences.mean())
    if n < 2 or ((alike := np.ptp(differences.round(DIGITS)) == 0) and abs(mean) > ROUNDING):
        return {"difference": mean, "p": math.nan, "low": math.nan, "high": math.nan, "effect": math.nan}
    if alike:
        return {"difference": 0.0, "p": 1.0, "low": 0.0, "high": 0.0, "effect": math.nan}
    std = float(differences.std(ddof=1))
    error = float(corrected_error(np.array(std), np.array(n), ratio))
    reach = float(t_quantile(n - 1, confidence)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return {"difference": mean, "p": p, "low": mean - reach, "high": mean + reach, "effect": mean / std}


def signed_rank(differences: np.ndarray) -> Mapping[str, float]:
    """Wilcoxon's test; the effect is the rank-biserial correlation, from -1 to 1. Ties are ties whatever
    floats make of them."""
    rounded = differences.round(DIGITS)
    moved = rounded[np.isfinite(rounded) & (rounded != 0)]
    if len(moved) < 1:
        return {"difference": 0.0, "p": 1.0, "effect": 0.0}
    ranks = stats.rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    p = float(stats.wilcoxon(moved).pvalue)
    return {"difference": float(np.nanmean(differences)), "p": p, "effect": effect}


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> Mapping[str, float]:
    """Exact: of the cases that one alone gets right, is either's share beyond chance? The effect is the
    odds ratio of those counts."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    n = only_ours + only_theirs
    p = float(stats.binomtest(only_ours, n, 0.5).pvalue) if n else 1.0
    effect = only_ours / only_theirs if only_theirs else (math.inf if only_ours else 1.0)
    return {"difference": (only_ours - only_theirs) / max(1, len(ours)), "p": p, "effect": effect,
            "only_pick": only_ours, "only_other": only_theirs}  # fmt: skip


def holm(values: Sequence[float]) -> np.ndarray:
    """Step-down adjustment; undefined values take no part."""
    p = np.asarray(values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p[np.isfinite(p)], kind="stable")
    known = np.flatnonzero(np.isfinite(p))[order]
    steps = (len(known) - np.arange(len(known))) * p[known]
    adjusted[known] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def frame(
    known: Figures, test: Stack, pick: str, others: Mapping[str, str], confidence: float,
    refining: frozenset[str] = frozenset(),
) -> list[Row]:  # fmt: skip
    """A row for each other configuration, figure and test; `others` maps its id to its role. Configurations
    in `refining` are compared by their refined predictions."""
    rows: list[Row] = []
    for other, role in others.items():
        who = {"pick": pick, "other": other, "role": role}
        rows += [who | row for row in _fold_tests(known, pick, other, confidence, refining)]
        rows += [who | row for row in _case_tests(test, pick, other, refining)]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows


def _fold_tests(
    known: Figures, pick: str, other: str, confidence: float, refining: frozenset[str]
) -> list[Row]:
    rows: list[Row] = []
    for metric in FOLD_METRICS:
        if metric in known.at:
            names = [own.name(known, config, metric, refining) for config in (pick, other)]
            ours, theirs = (known.of("test", name)[known.row[config]]
                            for name, config in zip(names, (pick, other), strict=True))  # fmt: skip
            if np.isfinite(ours - theirs).all():
                found = corrected_t(ours - theirs, known.ratio["test"], confidence)
                rows.append({"metric": names[0], "test": "corrected resampled t", "n": len(ours),
                             "effect_kind": "d"} | dict(found))  # fmt: skip
    return rows


def _case_tests(test: Stack, pick: str, other: str, refining: frozenset[str]) -> list[Row]:
    if not {pick, other} <= set(test.configs):
        return []
    prefix = "refined_" if pick in refining else ""
    rows: list[Row] = []
    ours, theirs = (_columns(test, config, "dice", refining) for config in (pick, other))
    dice = by_cluster(test, ours - theirs)
    if np.isfinite(dice).any():
        rows.append({"metric": f"{prefix}dice", "test": "Wilcoxon signed rank", "n": len(dice),
                     "effect_kind": "r"} | dict(signed_rank(dice)))  # fmt: skip
    first = first_repeat(test)
    ours, theirs = (_columns(test, config, "predicted", refining)[first] for config in (pick, other))
    if (ours >= 0).all() and (theirs >= 0).all() and len(first):
        truth = test.label[first]
        rows.append({"metric": f"{prefix}accuracy", "test": "McNemar, exact", "n": len(first),
                     "effect_kind": "odds"} | dict(mcnemar(ours == truth, theirs == truth)))  # fmt: skip
    return rows


def _columns(test: Stack, config: str, metric: str, refining: frozenset[str]) -> np.ndarray:
    return own.column(test.columns, test.row[config], metric, config in refining)


def by_cluster(stack: Stack, values: np.ndarray) -> np.ndarray:
    """A value per cluster: its rows (repeats of a case, cases of a patient) depend on each other."""
    known = np.isfinite(values)
    sums = np.bincount(stack.cluster[known], weights=values[known], minlength=stack.clusters)
    counts = np.bincount(stack.cluster[known], minlength=stack.clusters)
    return np.asarray(sums[counts > 0] / counts[counts > 0])


def first_repeat(stack: Stack) -> np.ndarray:
    """Rows where a case is tested for the first time: McNemar counts a case once."""
    return np.sort(np.unique(stack.case, return_index=True)[1])


def table(rows: Sequence[Row], confidence: float) -> Table:
    shown = [row | {"label": label(row["metric"]), "favours": favours(row)} for row in rows]
    columns = (
        Column("other", "Against", "id"),
        Column("role", "Which is", "word"),
        Column("label", "Figure", "word"),
        Column("test", "Test", "word"),
        Column("difference", "Pick − other", digits=4),
        Column("low", f"{confidence:.0%} from", digits=4),
        Column("high", "to", digits=4),
        Column("effect", "Effect", digits=2),
        Column("n", "n", "count"),
        Column("p", "p", "p"),
        Column("p_holm", "p, Holm", "p"),
    )
    note = (
        "A configuration that refines its predictions is compared by the refined ones. Effect: d of the "
        "paired fold differences for the t-test, rank-biserial r for Wilcoxon, the odds of the cases that "
        "one alone gets right for McNemar. Folds that all differ by the same, unless by nothing, give no "
        "t-test. Holm's adjustment runs over all rows that have a p."
    )
    return Table("significance", "Tests against the baseline and the runners-up", columns, shown, note)


def favours(row: Row) -> str:
    """Who came out ahead by what the test itself looks at: signed ranks may lean against the mean."""
    lean = row["effect"] if row["effect_kind"] == "r" else row["difference"]
    lean = lean if higher_is_better(row["metric"]) else -lean
    return "pick" if lean > 0 else "other" if lean < 0 else "neither"


AFTER_SELECTION = (
    "The pick was chosen for being best, so its comparison with the runners-up is a test after selection: "
    "its p-values are too small."
)
AS_TRAINED = (
    "Wilcoxon's and McNemar's tests compare the networks as they were trained: how another training or "
    "another split would change them shows over folds only, in the corrected t-test."
)
GROUPED = "Some cases belong together (patients or duplicates); McNemar's test treats them as independent."


def cautions(known: Figures, rows: Sequence[Row], grouped: bool, confidence: float) -> list[str]:
    """What these tests cannot support."""
    mcnemar_too = any(row["test"].startswith("McNemar") for row in rows)
    found = [AFTER_SELECTION, AS_TRAINED, few_folds(len(known.folds), known.ratio["test"], confidence)]
    return [text for text in (*found, GROUPED if grouped and mcnemar_too else "") if text]


def few_folds(n: int, ratio: float, confidence: float) -> str:
    """How large a difference must be for so few folds."""
    if n < 2:
        return "One fold has no spread: nothing can be said about significance over folds."
    if n >= 10:
        return ""
    need = detectable(n, ratio, confidence)["standard_deviations"]
    return (
        f"{n} folds leave {n - 1} {'degree' if n == 2 else 'degrees'} of freedom: a mean difference must "
        f"exceed {need:.2f} standard deviations of the fold differences to reach p < {1 - confidence:.2g}. "
        "Repeated folds would help."
    )


def detectable(n: int, ratio: float, confidence: float) -> Row:
    """The least mean difference that the corrected t-test shows, in deviations of the fold differences."""
    unit = float(corrected_error(np.array(1.0), np.array(n), ratio))
    need = float(t_quantile(n - 1, confidence)) * unit if n > 1 else math.nan
    return {"folds": n, "ratio": ratio, "standard_deviations": need, "p": 1 - confidence}
