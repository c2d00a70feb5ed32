"""What the commands on data sets share: a data section from options."""

from collections.abc import Sequence

from pydantic import ValidationError

from engine.errors import SonotuneError, many
from engine.spec.data import Data
from engine.spec.overrides import apply_overrides, parse_override
from engine.spec.problems import problems_of


def data_of(source: str | None, root: str | None, overrides: Sequence[str] | None) -> Data:
    """The section that a space would have: `--set data.size=64` works as it does there."""
    for override in overrides or ():
        path, _ = parse_override(override)
        if path.split(".")[0] != "data":
            raise SonotuneError(f"--set {override}: without a space only data can be set, as data.size=64")
    document = {"data": {"source": source, "root": root}}
    section = apply_overrides(document, None, overrides or ())["data"]
    try:
        return Data.model_validate(section)
    except ValidationError as error:
        raise many("the data set", problems_of(error, Data, "data")) from None
