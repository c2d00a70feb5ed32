"""One way to read and write a run folder, on a disk or on an object store.

A write is whole or not at all: on a disk the file is written aside, synced and renamed; on an object
store a PUT is atomic by itself. Appending is not offered, because object stores cannot.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine.errors import SonotuneError


def open_storage(location: str | os.PathLike[str]) -> "Storage":
    """A local path, or any URI that pyarrow or fsspec understands (`s3://bucket/run`, `gs://…`)."""
    text = os.fspath(location)
    if re.match(r"^[a-z][a-z0-9+.-]+://", text) and not text.startswith("file://"):
        return ObjectStorage(text)
    return LocalStorage(Path(text.removeprefix("file://")).absolute())


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

    def local(self) -> Path | None:
        """The folder itself where this is a disk: memory maps, locks and appends need one."""
        return None


class LocalStorage(Storage):
    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def list(self, folder: str) -> list[str]:
        inside = self.root / folder
        if not inside.is_dir():
            return []
        return sorted(entry.name for entry in inside.iterdir() if not entry.name.startswith("."))

    def delete(self, path: str) -> None:
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    def local(self) -> Path | None:
        return self.root


class ObjectStorage(Storage):
    def __init__(self, uri: str) -> None:
        self.location = uri
        self.files, self.prefix = _file_system(uri)

    def _at(self, path: str) -> str:
        return f"{self.prefix}/{path}".rstrip("/")

    def read(self, path: str) -> bytes:
        with self.files.open_input_stream(self._at(path)) as stream:
            return bytes(stream.read())

    def write(self, path: str, data: bytes) -> None:
        with self.files.open_output_stream(self._at(path)) as stream:
            stream.write(data)

    def exists(self, path: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self.files.get_file_info(self._at(path)).type != FileType.NotFound)

    def list(self, folder: str) -> list[str]:
        from pyarrow.fs import FileSelector

        found = self.files.get_file_info(FileSelector(self._at(folder), allow_not_found=True))
        return sorted(entry.base_name for entry in found)

    def delete(self, path: str) -> None:
        from pyarrow.fs import FileType

        kind = self.files.get_file_info(self._at(path)).type
        if kind == FileType.Directory:
            self.files.delete_dir(self._at(path))
        elif kind == FileType.File:
            self.files.delete_file(self._at(path))


def _file_system(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        files, path = FileSystem.from_uri(uri)
        return files, path
    except Exception as first:
        try:
            import fsspec

            backend, path = fsspec.core.url_to_fs(uri)
            return PyFileSystem(FSSpecHandler(backend)), path
        except Exception:
            raise SonotuneError(
                f"cannot open the storage {uri!r}: {first}; give a path or a URI that pyarrow or fsspec reads"
            ) from first
