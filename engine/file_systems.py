"""Opens what a URI names: object stores and all else that pyarrow or fsspec reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from engine.errors import SonotuneError, StorageError, shown
from engine.persist import persist


def file_system(uri: str) -> tuple[Any, str]:
    """pyarrow's own file systems, otherwise fsspec's behind pyarrow's interface."""
    _check_name(uri)
    problems: list[str] = []
    for attempt in (lambda: _pyarrow(uri, _tuned(uri)), lambda: _pyarrow(uri, uri), lambda: _fsspec(uri)):
        try:
            return attempt()
        except StorageError:
            raise
        except Exception as error:
            problems.append(str(error))
    place = shown(uri)
    raise SonotuneError(
        f"cannot open the storage {place!r}: {problems[1].replace(uri, place)}; give a path or a URI that "
        "pyarrow or fsspec reads"
    )


def _pyarrow(uri: str, tuned: str) -> tuple[Any, str]:
    """Where a URI names no region pyarrow asks Amazon for the bucket's: that the answer fails to come is no
    mistake in the URI, and may pass."""
    from pyarrow.fs import FileSystem

    def opened() -> tuple[Any, str]:
        return _impatient(uri, *FileSystem.from_uri(tuned))

    return persist(opened, f"open {shown(uri)}") if uri.startswith("s3://") else opened()


# Without the first pyarrow sends three requests for each object, however small; without the second Google's
# client tries for 15 minutes before it says anything, while a lease has long been somebody else's.
TUNED = {"s3": "allow_delayed_open=true", "gs": "retry_limit_seconds=2", "gcs": "retry_limit_seconds=2"}


def _tuned(uri: str) -> str:
    setting = TUNED.get(uri.partition("://")[0])
    if setting is None or setting.partition("=")[0] in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{setting}"


SILENCE = {"request_timeout": 10.0, "connect_timeout": 5.0}  # seconds; the client itself tries three times


def _impatient(uri: str, files: Any, path: str) -> tuple[Any, str]:
    """For a server that takes a request and never answers S3's client would wait without end. A URI cannot
    say for how long; what pyarrow pickles a file system by can, unless it forgets what the URI asks for."""
    if files.type_name != "s3":
        return files, path
    build, (settings,) = files.__reduce__()
    forgotten = {name for name, _ in parse_qsl(urlsplit(uri).query)} - set(settings)
    return (files, path) if forgotten else (build(settings | SILENCE), path)


OF_A_URI = "/%:@!$&'()*+,;=~"  # and letters and digits


def _check_name(uri: str) -> None:
    """What is no name of an object: pyarrow forgets all behind a `#`, and servers take `..` for a way up, so
    that two runs would lie in one place."""
    scheme, _, rest = uri.partition("://")
    path = rest.partition("?")[0].rpartition("@")[2]
    meant = unquote(path).rstrip("/")
    if scheme in TUNED and ("#" in path or "\0" in meant or {"", ".", ".."} & set(meant.split("/"))):
        raise SonotuneError(
            f"cannot open the storage {shown(uri)!r}: what lies in a bucket has no '#' in its name, and no "
            "part of it is empty, '.' or '..'; choose another name"
        )
    if scheme in TUNED and (path != (quoted := quote(path, safe=OF_A_URI))):
        raise SonotuneError(
            f"cannot open the storage {shown(uri)!r}: a space, and what is no plain letter, stand in a URI "
            f"by their number; write {scheme}://{quoted}"
        )


def _fsspec(uri: str) -> tuple[Any, str]:
    import fsspec
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    backend, path = fsspec.core.url_to_fs(uri)
    return PyFileSystem(FSSpecHandler(backend)), path


def names_in(files: Any, folder: str) -> set[str]:
    """Of Google's folders pyarrow lists only those that somebody made an object for, which a write does not:
    there the folders are found in the names of all that lies below."""
    from pyarrow.fs import FileSelector

    below = files.type_name == "gcs"
    entries = files.get_file_info(FileSelector(folder, allow_not_found=True, recursive=below))
    if not below:
        return {entry.base_name for entry in entries}
    return {entry.path.removeprefix(f"{folder}/").partition("/")[0] for entry in entries}


@contextmanager
def answered() -> Iterator[None]:
    """What a server refuses is no mistake of the program, though Google's client names it like one."""
    try:
        yield
    except ValueError as error:
        if "google::cloud::Status" not in str(error):
            raise
        raise OSError(str(error)) from error
