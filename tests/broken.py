"""Ways in which pictures and tables on disk are broken."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.layouts import HEIGHT, WIDTH


def cut(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def put(path: Path, pixels: np.ndarray, **more: object) -> None:
    Image.fromarray(pixels).save(path, **more)  # type: ignore[arg-type]


def grey(value: int = 90) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value, np.uint8)


def ramp(top: int) -> np.ndarray:
    return np.linspace(0, top, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 30] ^= 255
    path.write_bytes(bytes(data))


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def link_out(root: Path, name: str) -> None:
    outside = root.parent / "outside.png"
    (root / name).rename(outside)
    (root / name).symlink_to(outside)


def link_folder(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "outlines" / "0.png").rename(outside / "0.png")
    (root / "linked").symlink_to(outside)
    swap(root / "cases.csv", "outlines/0.png", "linked/0.png")


def two_frames(path: Path) -> None:
    frame = Image.open(path).copy()
    frame.save(path.with_suffix(".tif"), save_all=True, append_images=[frame])
    path.unlink()


def turned(path: Path) -> None:
    picture = Image.open(path).copy()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)


def transparent(path: Path) -> None:
    alpha = np.asarray(Image.open(path).convert("L"))
    put(path, np.dstack([np.full((*alpha.shape, 3), 255, np.uint8), alpha]))


def paint(path: Path, *colours: tuple[int, int, int]) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for index, colour in enumerate(colours):
        pixels[5 + 10 * index : 12 + 10 * index, 5:20] = colour
    put(path, pixels)


def swap(path: Path, old: str, new: str, times: int = -1) -> None:
    path.write_text(path.read_text().replace(old, new, times))


def lines(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def drop_row(path: Path, row: int) -> None:
    lines(path, lambda all_lines: all_lines[:row] + all_lines[row + 1 :])


def repeat_row(path: Path, row: int) -> None:
    lines(path, lambda all_lines: [*all_lines, all_lines[row]])


def big_sixteen(path: Path) -> None:
    put(path, np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH))
