"""What every section of a study has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen, so that a study cannot change under a run; strict about names, so that a typo is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )
