"""How configurations are drawn, how many, and what makes one better than another."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.spec.section import Section

SamplerName = Literal["random", "grid", "qmc", "tpe", "gp", "cmaes", "nsga2", "motpe"]
Direction = Literal["maximize", "minimize"]

# Metrics of which less is better, also with `refined_` before or a class's name behind.
LESS_IS_BETTER = ("hausdorff", "hd95", "hd95_directed", "asd", "assd", "brier", "ece", "incoherent",
                  "latency_ms", "parameters", "flops", "seconds", "peak_memory_mb")  # fmt: skip


def direction(metric: str) -> Direction:
    bare = metric.removeprefix("refined_")
    less = any(bare == name or bare.startswith(f"{name}_") for name in LESS_IS_BETTER)
    return "minimize" if less else "maximize"


class Budget(Section):
    """Whichever of these ends first ends the search; none of them by default."""

    epochs: int | None = Field(None, ge=1, description="fold-epochs trained in all")
    hours: float | None = Field(None, gt=0, description="hours of wall clock, all resumed stretches together")
    gpu_hours: float | None = Field(
        None, gt=0, description="hours times the GPUs held (CPU folds count none)"
    )


class Constraints(Section):
    """Upper bounds; a configuration above one is not picked, and the sampler learns to avoid its like."""

    latency_ms: float | None = Field(None, gt=0, description="milliseconds to predict one image")
    parameters: float | None = Field(None, gt=0, description="trainable parameters")
    flops: float | None = Field(None, gt=0, description="floating-point operations per image")

    def bounds(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)


class Search(Section):
    sampler: SamplerName = Field("tpe", description="`sonotune` draws configurations with it")
    configs: int = Field(30, ge=1, description="configurations drawn in all, `first` included")
    startup: int = Field(
        10,
        ge=2,
        description="configurations drawn at random before a learning sampler learns; nsga2: population",
    )
    first: list[dict[str, Any]] | Literal["paper"] = Field(
        default_factory=list,
        description="configurations to begin with, each by some values ({loss.lambda: 0.5}), or `paper`",
    )
    budget: Budget = Budget()
    objective: str | dict[str, float] | list[str] = Field(
        default={"dice": 0.5, "f1_macro": 0.5},
        description="a validation metric, a weighted sum of some, or a list of several for a Pareto front",
    )
    constraints: Constraints = Constraints()

    @field_validator("objective")
    @classmethod
    def _names_a_metric(cls, objective: str | dict[str, float] | list[str]) -> Any:
        names = [objective] if isinstance(objective, str) else list(objective)
        if not names or not all(names):
            raise ValueError("objective must name at least one metric")
        if len(set(names)) < len(names):
            raise ValueError(f"objective names a metric twice: {names}")
        if isinstance(objective, dict) and not all(objective.values()):
            raise ValueError(f"every weight of the objective must differ from 0, got {objective}")
        return objective

    @model_validator(mode="after")
    def _sampler_suits_objective(self) -> Self:
        several = len(self.directions) > 1
        if self.sampler == "motpe" and not several:
            raise ValueError("sampler motpe needs an objective that lists several metrics; use tpe for one")
        if self.sampler == "cmaes" and several:
            raise ValueError("sampler cmaes takes one objective; use motpe or nsga2 for several")
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """A name for each value that the sampler is told."""
        if isinstance(self.objective, list):
            return tuple(self.objective)
        return (self.objective,) if isinstance(self.objective, str) else ("objective",)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """A weighted sum is always maximized: metrics of which less is better take negative weights."""
        if isinstance(self.objective, dict):
            return ("maximize",)
        return tuple(direction(metric) for metric in self.objectives)
