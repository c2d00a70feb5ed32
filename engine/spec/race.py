"""How configurations race: which rule drops or freezes them, and how sure it must be."""

from typing import Literal

from pydantic import Field

from engine.spec.section import Section

Rule = Literal[
    "none",
    "asha",
    "median",
    "aggressive",
    "forgiving",
    "wilcoxon",
    "paired",
    "thaw",
    "reserve",
    "halving",
]


class Race(Section):
    """Settings of the race. A setting that a rule does not use is without effect, and its text says so."""

    rule: Rule = "reserve"
    """Who may stop a configuration before all of its folds are trained; `none` trains everything."""

    delta: float = Field(default=0.1, gt=0, lt=0.5)
    """The risk a rule may take (paired, thaw: of losing the pick; wilcoxon: the level of its test)."""

    min_epochs: int = Field(default=1, ge=1)
    """No fold is judged before this many epochs (asha, halving: the first rung; median: the grace period;
    paired, thaw, reserve: the first look)."""

    warmup: int = Field(default=3, ge=1)
    """Nothing is dropped before this many configurations are complete (paired, median)."""

    audit: float = Field(default=0.05, ge=0, le=1)
    """Share of the dropped configurations that is finished all the same, to count wrong drops."""

    tolerance: float = Field(default=0.25, ge=0)
    """What a lost configuration may be better by, in standard deviations of a paired fold difference
    (paired, thaw)."""

    price: float = Field(default=0.15, gt=0)
    """What training one configuration to the end must be expected to gain, in the unit of `tolerance`
    (reserve)."""

    decided: float = Field(default=0.5, gt=0)
    """Share of a whole training after which one configuration is left; above 1, several are finished
    (halving)."""

    eta: float = Field(default=3.0, gt=1)
    """asha: one in `eta` goes on at each rung."""

    looks: int = Field(default=8, ge=2, le=12)
    """At how many epochs, spaced geometrically up to the last, a running fold is judged (paired, thaw,
    reserve)."""
