"""`select`: how one configuration is picked from the finished ones, always on validation figures."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.section import Section, for_editors, form

ID = "(first|[0-9a-f]{1,10}(·[0-9]+)?)"
AN_ID = "should be `first`, or a configuration's id of ten hex digits, or how one begins"
Baseline = Annotated[str, form(ID, AN_ID), for_editors(ID)]


class Select(Section):
    rule: Literal["best_mean", "one_se", "lower_bound", "pareto", "median_rank"] = "best_mean"
    """`best_mean`: the highest mean over folds. `one_se`: the cheapest within one standard error of it.
    `lower_bound`: the highest lower end of the mean's interval. `pareto`: the knee of the front of
    `metrics`. `median_rank`: the best median rank over folds and `metrics`."""
    cost: Literal["parameters", "flops", "seconds"] = "parameters"
    """What `one_se` keeps small: parameters, floating-point operations, or seconds of training."""
    metrics: tuple[str, ...] = ()
    """What `pareto` and `median_rank` weigh; empty stands for the metrics of the search's objective."""
    baseline: Baseline | None = None
    """The configuration (its id or how that begins, or `first`) that all others are tested against."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Of every interval in the report."""
    bootstraps: int = Field(1000, ge=100, le=100_000)
    """Resamples of the cases, for the intervals over cases and for the optimism of choosing."""
    seed: int = Field(0, ge=0)
    """Of those resamples."""
