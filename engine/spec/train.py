"""`train`: how one configuration is trained on one fold."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.section import Section

Beta = Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    epochs: int = Field(20, ge=1, le=10_000)
    batch: int = Field(16, ge=1, le=4096)
    """Images per optimizer step."""
    micro_batches: int = Field(1, ge=1, le=64)
    """Parts a batch is split into, their gradients added up: the same step in less memory."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0, le=10)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    schedule: Literal["constant", "cosine", "plateau", "lambda"] = "constant"
    """`cosine` falls to `lr_floor` of the start, reached as the last epoch ends; `plateau` multiplies by
    `plateau_factor` where the score on validation has stopped rising; `lambda` by `decay` at each epoch."""
    lr_floor: float = Field(0.0, ge=0, le=1)
    plateau_factor: float = Field(0.1, gt=0, lt=1)
    plateau_patience: int = Field(10, ge=0)
    decay: float = Field(0.97, gt=0, le=1)
    warmup: int = Field(0, ge=0)
    """Epochs over which the learning rate rises linearly to its value."""
    clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; none leaves it alone."""
    precision: Literal["auto", "off", "bf16", "fp16"] = "auto"
    """Mixed precision; `auto` is bf16 where the device has units for it, else off."""
    oversample: Literal["none", "random", "deterministic"] = "none"
    """`deterministic` repeats every case of a rare class a whole number of times (the refining framework)."""
    oversample_rounding: Literal["nearest", "ceil"] = "nearest"
    timeout: float | None = Field(None, gt=0)
    """Seconds without an epoch's end after which a fold counts as hung."""
    retries: int = Field(2, ge=0, le=10)
    """How often a crashed fold is taken up again from its checkpoint."""

    @property
    def unread(self) -> tuple[str, ...]:
        """Settings that no digit of the training depends on: of how it is watched, and idle ones."""
        read = {
            "momentum": self.optimizer == "sgd",
            "betas": self.optimizer != "sgd",
            "lr_floor": self.schedule in ("cosine", "lambda"),
            "decay": self.schedule == "lambda",
            "plateau_factor": self.schedule == "plateau",
            "plateau_patience": self.schedule == "plateau",
            "oversample_rounding": self.oversample == "deterministic",
        }
        return ("timeout", "retries", *(name for name, used in read.items() if not used))
