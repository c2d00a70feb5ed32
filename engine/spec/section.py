"""What every section of a study has in common."""

import re
from typing import Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, WithJsonSchema, field_validator


class Section(BaseModel):
    """Frozen, so that a study cannot change under a run; strict about names, so that a typo is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1."""
        if isinstance(given, bool) and _takes_numbers(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("should be a number, not true or false")
        return given


def _takes_numbers(annotation: Any) -> bool:
    kinds = {annotation, *get_args(annotation)}
    return bool(kinds & {int, float}) and bool not in kinds


def form(pattern: str, rule: str) -> AfterValidator:
    """What a string must look like, told in words."""

    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise ValueError(rule)
        return given

    return AfterValidator(check)


def for_editors(pattern: str) -> WithJsonSchema:
    """The same for the schema."""
    return WithJsonSchema({"pattern": f"^{pattern}$", "type": "string"})
