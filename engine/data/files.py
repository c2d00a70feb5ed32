"""Finding pictures in folders: which files count, in which order, and that none lies outside the data set."""

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import SonotuneError
from engine.storage import ONE_SLASH

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz")


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts `benign (2)` before `benign (10)`; of 1 and 01, which are one number, always the same first."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    read = [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts]
    return read, name


def pictures(folder: Path) -> Iterator[Path]:
    """Image files by name; hidden files (`.DS_Store`, `._copy.png`) are the operating system's own."""
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            yield path


def by_stem(folder: Path) -> dict[str, Path]:
    """Two files that differ in their extension only would be one case: which of them is nobody's guess."""
    found: dict[str, Path] = {}
    for path in pictures(folder):
        if found.setdefault(path.stem, path) != path:
            both = f"{found[path.stem].name!r} and {path.name!r}"
            raise SonotuneError(f"{folder} has two files of one case, {both}; take one away")
    return found


@contextmanager
def reading(what: str) -> Iterator[None]:
    """No rights, a broken disk or a lost network drive, told without a traceback."""
    try:
        yield
    except OSError as error:
        raise SonotuneError(f"cannot read {what}: {error}; check that it is there and may be read") from error


def on_a_disk(place: Path) -> None:
    """A URI would become a folder of that name here, which nobody finds."""
    if ONE_SLASH.match(str(place)):
        uri = str(place).replace(":/", "://", 1)
        raise SonotuneError(f"cannot write to {uri}: this goes to a disk alone; name a folder and copy it")


@contextmanager
def writing(place: Path) -> Iterator[None]:
    on_a_disk(place)
    try:
        yield
    except OSError as error:
        raise SonotuneError(f"cannot write to {str(place)!r}: {error}; it needs rights and room") from error


def folder_at(root: str | Path | None, layout: str) -> Path:
    path = Path(root or "").expanduser()
    if not path.exists():
        raise SonotuneError(f"data.root {str(root)!r} does not exist{_seen_from(path)}; expected {layout}")
    if not path.is_dir():
        packed = ", but an archive: unpack it and give its folder" if path.suffix.lower() in ARCHIVES else ""
        raise SonotuneError(f"data.root {str(root)!r} is not a folder{packed}; expected {layout}")
    return path


def _seen_from(path: Path) -> str:
    """A resume from elsewhere looks elsewhere."""
    return "" if path.is_absolute() else f" in {Path.cwd()}, from where it was looked for"


def subfolder(root: Path, name: str, layout: str) -> Path:
    path = root / name
    if not path.is_dir():
        near = _near(root, name)
        raise SonotuneError(f"data.root {str(root)!r} holds no folder {name!r}{near}; expected {layout}")
    return path


def _near(root: Path, name: str) -> str:
    """Where a folder may be meant: archives unpack into folders of their own, names change their case, and
    the folder with the pictures is given for that of the data set."""
    for path in sorted(root.glob("*")):
        if path.is_dir() and path.name.lower() == name.lower():
            return f", but {path.name!r}: rename it"
    for pattern in (f"*/{name}", f"*/*/{name}"):
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and "__MACOSX" not in path.parts:
                return f", but {str(path.parent)!r} does: give that as data.root"
    above = root.absolute().parent
    return f", but {str(above)!r} does: give that as data.root" if (above / name).is_dir() else ""


def is_inside(path: Path, root: Path) -> bool:
    """After every symbolic link is followed, so that a link cannot lead out of the data set."""
    return path.resolve().is_relative_to(root.resolve())


def is_plain_file(path: Path) -> bool:
    """Neither a folder nor a pipe or device, which would block or never end when read."""
    return stat.S_ISREG(path.stat().st_mode)


def stamp(path: Path) -> tuple[str, int, int, int]:
    """What changes when a file's content does; a missing file has a stamp, too."""
    try:
        facts = path.stat()
    except OSError:
        return (str(path), -1, 0, 0)
    return (str(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
