"""Everything the sections of a report read, computed once."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine.errors import SonotuneError
from engine.picking import READ_METRICS
from engine.spec.select import Select
from reports import nested, optimism, own, pooled, resample, significance, stack
from reports.aggregate import Figures, figures, ranking
from reports.choose import Pick, choose, eligible, evidence_of, metrics_of
from reports.measures import higher_is_better, objective, refines
from reports.pooled import Statistic, Under
from reports.run import Problem, Run
from reports.stack import Stack

MAIN = ("dice", "iou", "accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "auc_macro", "hd95", "asd",
        "dice_pooled", "iou_pooled", "ece", "brier", "incoherent", "refined_dice", "refined_iou",
        "refined_accuracy", "refined_f1_macro", "refined_dice_pooled")  # fmt: skip
RUNNERS_UP = 4


@dataclass(frozen=True)
class Study:
    """`known`: every complete configuration; `fit`: those that may be picked."""

    run: Run
    select: Select
    known: Figures
    fit: Figures
    pick: Pick | None

    @property
    def picked(self) -> str:
        assert self.pick is not None
        return self.pick.config_id

    @cached_property
    def test(self) -> Stack:
        return stack.read(self.run, "test")

    @cached_property
    def validation(self) -> Stack:
        return stack.read(self.run, "validation")

    @cached_property
    def statistics(self) -> list[Statistic]:
        """The main figures that this run measured."""
        there = [m for m in MAIN if m in self.known.at and np.isfinite(self.known.of("test", m)).any()]
        found = [pooled.statistic(metric, self.run.classes) for metric in there]
        return [one for one in found if one is not None]

    @cached_property
    def optimism(self) -> list[dict[str, Any]]:
        """Empty where what was chosen by cannot be recomputed from case rows, or nothing was chosen among."""
        comparable = [c for c in self.fit.configs if c in self.test.row and c in self.validation.row]
        score = score_statistic(self.run)
        if len(comparable) < 2 or score is None or self.picked not in comparable:
            return []
        metrics = metrics_of(self.run, self.select)
        several = [turned(m, self.run.classes) for m in metrics if m in self.known.at]
        if None in several and self.select.rule in READ_METRICS:
            return []
        evidence = evidence_of(self.run, self.fit.only(comparable), self.select, metrics)
        return optimism.frame(
            self.validation.pick(comparable), self.test.pick(comparable), score,
            [one for one in several if one is not None], self.statistics, self.picked, self.select.rule,
            evidence, self.select.bootstraps, self.select.seed,
        )  # fmt: skip

    @cached_property
    def outer(self) -> list[dict[str, Any]]:
        """A row for each outer fold of a nested design."""
        return nested.rows(self.run, self.select)

    @cached_property
    def intervals(self) -> list[dict[str, Any]]:
        return resample.intervals(
            self.test, self.statistics, self.select.bootstraps, self.select.seed, self.select.confidence
        )

    @cached_property
    def others(self) -> Mapping[str, str]:
        """What the pick is compared with: the baseline, then the runners-up by mean validation score."""
        ranks = ranking(self.known)
        found: dict[str, str] = {}
        if self.select.baseline and not self.unusable:
            found[self.run.find(self.select.baseline).id] = "baseline"
        rest = [c for c in sorted(ranks, key=lambda c: ranks[c]) if c != self.picked and c not in found]
        return found | {c: f"rank {ranks[c]}" for c in rest[:RUNNERS_UP]}

    @cached_property
    def unusable(self) -> str:
        """A study names its baseline before it is known what becomes of which configuration."""
        if self.select.baseline is None:
            return ""
        try:
            baseline = self.run.find(self.select.baseline)
        except SonotuneError as error:
            why = str(error)
        else:
            why = "" if baseline.id in ranking(self.known) else f"{baseline.id} is {baseline.status}"
            why = f"{baseline.id} is the pick itself" if baseline.id == self.picked else why
        return f"nothing is tested against select.baseline: {why}" if why else ""

    @cached_property
    def significance(self) -> list[dict[str, Any]]:
        return significance.frame(
            self.known, self.test, self.picked, self.others, self.select.confidence, self.refining
        )

    @cached_property
    def refining(self) -> frozenset[str]:
        return own.refining(self.run)

    @property
    def problems(self) -> tuple[Problem, ...]:
        both = self.test.problems + self.validation.problems if self.pick else ()
        return self.run.problems + tuple(dict.fromkeys(both))


def study_of(run: Run, select: Select) -> Study:
    known = figures(run)
    fit = eligible(run, known)
    return Study(run, select, known, fit, choose(run, fit, select))


def score_statistic(run: Run) -> Statistic | None:
    """The objective over pooled cases; of several objectives their mean, as when epochs are chosen. Each
    configuration is scored on raw or on refined predictions, as its own `predict.refine` says."""
    wanted = objective(run.study)
    weights: dict[str, float] = {}
    for metric, weight in ((m, w) for one in wanted for m, w in one.items()):
        weights[metric] = weights.get(metric, 0.0) + weight / len(wanted)
    raw = pooled.weighted("score", weights, run.classes)
    refining = {config.id for config in run.configs if refines(config.config)}
    if raw is None or not refining:
        return raw
    refined = pooled.weighted("score", {f"refined_{m}": w for m, w in weights.items()}, run.classes)
    return None if refined is None else _by_config(raw, refined, refining)


def _by_config(raw: Statistic, refined: Statistic, refining: Container[str]) -> Statistic:
    def over(rows: Stack) -> Under:
        mine = np.array([config in refining for config in rows.configs])
        each = refined.over(rows), raw.over(rows)
        return lambda weights: np.where(mine, each[0](weights), each[1](weights))

    return replace(raw, over=over)


def turned(metric: str, classes: tuple[str, ...]) -> Statistic | None:
    """A statistic of which more is better."""
    what = pooled.statistic(metric, classes)
    if what is None or higher_is_better(metric):
        return what
    over = what.over

    def negative(rows: Stack) -> Under:
        figures = over(rows)
        return lambda weights: -figures(weights)

    return replace(what, over=negative)
