"""Pictures that a data set's table does not list, and rows of pictures that are not there."""

from collections.abc import Iterable, Mapping

from engine.data.cases import Problem


def unlisted(
    images: Mapping[str, str], listed: Iterable[str], folder: str, table: str
) -> tuple[Problem, ...]:
    """`images`: by case, what the picture is called in `folder`."""
    rows = dict.fromkeys(listed)
    here = [
        Problem(name, f"{folder}/{shown}", "no-label", f"has no row in {table}")
        for name, shown in images.items()
        if name not in rows
    ]
    gone = [
        Problem(name, table, "no-image", f"lists {name!r}, which is not in {folder}/")
        for name in rows
        if name not in images
    ]
    return (*here, *gone)
