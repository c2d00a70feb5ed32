"""Opens what a URI names: object stores and all else that pyarrow or fsspec reads."""

from typing import Any

from engine.errors import SonotuneError, shown


def file_system(uri: str) -> tuple[Any, str]:
    """pyarrow's own file systems, otherwise fsspec's behind pyarrow's interface."""
    from pyarrow.fs import FileSystem

    problems: list[str] = []
    for attempt in (
        lambda: FileSystem.from_uri(_in_one_put(uri)),
        lambda: FileSystem.from_uri(uri),
        lambda: _fsspec(uri),
    ):
        try:
            return attempt()
        except Exception as error:
            problems.append(str(error))
    place = shown(uri)
    raise SonotuneError(
        f"cannot open the storage {place!r}: {problems[1].replace(uri, place)}; give a path or a URI that "
        "pyarrow or fsspec reads"
    )


def _in_one_put(uri: str) -> str:
    """Without this pyarrow sends three requests for each object, however small."""
    if not uri.startswith("s3://") or "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


def _fsspec(uri: str) -> tuple[Any, str]:
    import fsspec
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    backend, path = fsspec.core.url_to_fs(uri)
    return PyFileSystem(FSSpecHandler(backend)), path
