"""`resources`: what one fold takes, and how many run side by side."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from engine.spec.section import Section

Amount = Annotated[float, Field(gt=0)]


def _of_one_or_whole(gpus: float) -> float:
    """Ray refuses others when the first fold is to start."""
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("must be whole, or a part of one GPU")
    return gpus


Gpus = Annotated[float, Field(ge=0), AfterValidator(_of_one_or_whole)]


class Resources(Section):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Folds that run side by side; `auto` is as many as the cluster holds. On a cluster that adds nodes by
    itself say a number: it is what the autoscaler is told, and the search waits for the first node."""
    cpu: Amount | Literal["auto"] = "auto"
    """Cores of one fold; `auto` is 1, or with GPUs the cores divided by the folds that share them."""
    gpu: Gpus | Literal["auto"] = "auto"
    """GPUs of one fold, also a fraction of one; `auto` shares a GPU among as many folds as fit into its
    memory, measured with the largest configuration of the space when the run begins;
    0 where there is no GPU."""
    threads: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Torch's threads per fold on a CPU; `auto` is the whole cores of `cpu`, or 1 where that is `auto`.
    Part of a result's address, since sums depend on it: resolved once, when the run begins."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    custom: dict[str, Amount] = Field(default_factory=dict)
    """Ray's custom resources, such as `accelerator_type:A100: 0.001`."""
    keep: Literal["none", "best", "all"] = "best"
    """Checkpoints kept after a fold ends: none, the best epoch's, or also the last one's."""
    keep_configurations: int = Field(10, ge=1)
    """Complete configurations whose checkpoints are kept, the best by mean validation score and what
    `select.rule` would pick. All of them where it reads what only a report knows: `one_se` with seconds,
    `pareto` and `median_rank` with metrics that are no objectives."""
