"""How the cases are split."""

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.spec.section import Section


class Folds(Section):
    """Train, validation and test parts of every fold. What belongs together never lies in two parts."""

    k: int = Field(5, ge=2, le=100)
    """Folds per repeat; each case is tested once per repeat."""
    repeats: int = Field(1, ge=1, le=100)
    """Times the cases are split anew, each with its own order."""
    stratify: Literal["label", "label_size"] = "label"
    """Keep the shares of the labels, or of label and lesion size (thirds of each label), in every part."""
    group_by: Literal["none", "patient", "duplicates", "both"] = "both"
    """What must stay together; `both` unites patients and duplicates that share a case."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Same seed, same folds, on any machine."""
    validation: float = Field(0.2, gt=0.0, lt=1.0)
    """Share of a fold's remaining cases that is set aside for choosing epochs and configurations."""
    outer: int = Field(0, ge=0, le=100)
    """Outer folds of a nested design (0: none). Configurations are picked inside each outer fold."""
    from_: str | None = Field(None, alias="from")
    """`official` for the source's own test folds, or a file: another study's folds.json or a table."""
    allow_leak: bool = False
    """Split known patients or duplicates apart all the same. The report then says so at its top."""

    @model_validator(mode="after")
    def _outer_is_nested(self) -> Self:
        if self.outer == 1:
            raise ValueError("outer must be 0 (not nested) or at least 2, got outer=1")
        if self.outer and self.from_:
            raise ValueError("outer folds are made by sonotune; leave out either `outer` or `from`")
        return self
