"""`resources`: what one fold takes, and how many run side by side."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.section import Section

Amount = Annotated[float, Field(gt=0)]


class Resources(Section):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Folds that run side by side; `auto` is as many as the cluster's resources hold."""
    cpu: Amount | Literal["auto"] = "auto"
    """Cores of one fold; `auto` is 1, or with GPUs the cores divided by the folds that share them."""
    gpu: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """GPUs of one fold, also a fraction; `auto` is 1 where the cluster has GPUs, else 0."""
    threads: int = Field(1, ge=1, le=256)
    """Torch's threads per fold on a CPU; part of a result's address, since sums depend on it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    custom: dict[str, Amount] = Field(default_factory=dict)
    """Ray's custom resources, such as `accelerator_type:A100: 0.001`."""
    keep: Literal["none", "best", "all"] = "best"
    """Checkpoints kept after a fold ends: none, the best epoch's, or also the last one's."""
    keep_configurations: int = Field(10, ge=1)
    """Complete configurations whose checkpoints are kept, the best by mean validation score."""
