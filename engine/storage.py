"""One way to read and write a run folder, on a disk or on an object store.

A write is whole or not at all: on a disk the file is written aside, synced and renamed; on an object
store a PUT is atomic by itself. Appending is not offered, because object stores cannot.

A file that is not there is Python's FileNotFoundError, which callers expect; of others see `persist.py`.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from engine.errors import SonotuneError, StorageError
from engine.file_systems import answered, file_system, names_in
from engine.persist import Result, persist

SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+(?=://)")  # of a URI, in whatever case
ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # a slip, and what pathlib makes of a URI


def open_storage(location: str | os.PathLike[str]) -> "Storage":
    """A local path, or any URI that pyarrow or fsspec understands (`s3://bucket/run`, `gs://…`)."""
    text = SCHEME.sub(lambda scheme: scheme[0].lower(), os.fspath(location))
    if slip := ONE_SLASH.match(text):
        raise SonotuneError(
            f"what begins with {slip[0]} is no URI, which has two slashes; write {slip[0]}/ or, of a folder, "
            f"./{slip[0]}"
        )
    if SCHEME.match(text) and not text.startswith("file://"):
        return ObjectStorage(text)
    return LocalStorage(Path(text.removeprefix("file://")).absolute())


def below(location: str, path: str) -> str:
    """The location of what lies there; a URI keeps its query, which tells how it is opened."""
    place, mark, query = location.partition("?") if "://" in location else (location, "", "")
    return f"{place.rstrip('/')}/{path}{mark}{query}"


class Storage:
    """Paths are relative to the storage's root and use forward slashes."""

    location: str

    def read(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    def write(self, path: str, data: bytes) -> None:
        raise PermissionError(path)

    def exists(self, path: str) -> bool:
        return False

    def list(self, folder: str) -> list[str]:
        """Names of the entries directly inside `folder`, sorted; empty when there is no such folder."""
        return []

    def delete(self, path: str) -> None:
        """A file or a whole folder; nothing happens when it is not there."""

    def check_bucket(self) -> None:
        """Raises where there is none: a look into it finds nothing, as in an empty one."""

    def local(self) -> Path | None:
        """The folder itself where this is a disk: memory maps, locks and appends need one."""
        return None


def inside(path: str) -> str:
    """The path, unless it leads out of its storage: names in result.json or folds.json may be anybody's."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise SonotuneError(
            f"the path {path!r} leads out of its folder; whatever names it is not to be trusted"
        )
    return path


class LocalStorage(Storage):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)

    def _at(self, path: str) -> Path:
        return self.root / inside(path)

    def read(self, path: str) -> bytes:
        return self._try("read", path, self._at(path).read_bytes)

    def write(self, path: str, data: bytes) -> None:
        """Only a read may find that a file is not there; here a folder on the way to it cannot be made."""
        try:
            self._try("write", path, lambda: _replace(self._at(path), data))
        except FileNotFoundError as error:
            raise StorageError(
                f"cannot write {self.root / path}: there is no {error.filename}, and it cannot be made"
            ) from error

    def exists(self, path: str) -> bool:
        return self._try("look at", path, self._at(path).exists)

    def list(self, folder: str) -> list[str]:
        place = self._at(folder)
        try:
            names = self._try("list", folder, lambda: os.listdir(place) if place.is_dir() else [])
        except FileNotFoundError:  # gone meanwhile
            return []
        return sorted(name for name in names if not name.startswith("."))

    def delete(self, path: str) -> None:
        self._try("delete", path, lambda: _remove(self._at(path)))

    def local(self) -> Path | None:
        return self.root

    def _try(self, what: str, path: str, action: Callable[[], Result]) -> Result:
        return persist(action, f"{what} {self.root / path}")


class ObjectStorage(Storage):
    def __init__(self, uri: str) -> None:
        """A slash at its end names no other place."""
        self.files, self.prefix = file_system(uri)
        place, mark, query = uri.partition("?")
        self.location = f"{place.rstrip('/')}{mark}{query}" if self.prefix.strip("/") else uri

    def _at(self, path: str) -> str:
        return f"{self.prefix}/{inside(path)}".rstrip("/")

    def read(self, path: str) -> bytes:
        def read() -> bytes:
            with self.files.open_input_stream(self._at(path)) as stream:
                return bytes(stream.read())

        return self._try("read", path, read)

    def write(self, path: str, data: bytes) -> None:
        def write() -> None:
            try:
                with self.files.open_output_stream(self._at(path)) as stream:
                    stream.write(data)
            except FileNotFoundError as error:  # the bucket, or an upload half way; only a read may find it
                raise OSError(str(error)) from error

        self._try("write", path, write)

    def exists(self, path: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self._kind(path) != FileType.NotFound)

    def list(self, folder: str) -> list[str]:
        return sorted(self._try("list", folder, lambda: names_in(self.files, self._at(folder))))

    def delete(self, path: str) -> None:
        """A folder that is nothing but the names of its files is gone with them, which Google's client takes
        for an error."""
        from pyarrow.fs import FileType

        kind = self._kind(path)
        with suppress(FileNotFoundError):
            if kind == FileType.Directory:
                self._try("delete", path, lambda: self.files.delete_dir(self._at(path)))
            elif kind == FileType.File:
                self._try("delete", path, lambda: self.files.delete_file(self._at(path)))

    def check_bucket(self) -> None:
        """Whoever may not look at the whole bucket is not told."""
        from pyarrow.fs import FileType

        bucket, found = self.prefix.partition("/")[0], FileType.Unknown
        with suppress(StorageError):
            found = self._try("look at", "", lambda: self.files.get_file_info(bucket).type)
        if found == FileType.NotFound and self.files.type_name in ("s3", "gcs"):
            raise StorageError(
                f"there is no bucket {bucket!r} for {self.location} to lie in; see how its name is written"
            )

    def _kind(self, path: str) -> Any:
        return self._try("look at", path, lambda: self.files.get_file_info(self._at(path)).type)

    def _try(self, what: str, path: str, action: Callable[[], Result]) -> Result:
        return persist(answered()(action), f"{what} {below(self.location, path)}")


def _remove(target: Path) -> None:
    """Of a folder all that can be: what others delete meanwhile is gone as well, and what they write into it
    may stay. A link goes, not what it leads to."""
    if target.is_symlink() or not target.is_dir():
        return target.unlink(missing_ok=True)
    errors: list[OSError] = []
    shutil.rmtree(target, onerror=lambda *met: errors.append(met[2][1]))
    for error in errors:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise error


def _replace(target: Path, data: bytes) -> None:
    with written_aside(target) as file:
        file.write(data)


def opened_in_place(path: str | os.PathLike[str], flags: int) -> int:
    """A file that is written to where it is. Never through a link: in a run folder that somebody has sent it
    may lead to any file of whoever goes on with that run."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StorageError(
            f"{os.fspath(path)} is a link, and may lead out of its folder; put the file itself there"
        ) from error


@contextmanager
def written_aside(target: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the target's place once it is whole and synced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
