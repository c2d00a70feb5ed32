"""From an image file to pixels. Everything is decided from the header before a pixel is decoded."""

import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from engine.data.cases import Colours
from engine.data.files import is_inside, is_plain_file

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
LARGEST = 64_000_000  # pixels; the largest ultrasound frames have about two million
SMALLEST = 8  # pixels a side
DARK = 16_384  # 16 bits whose highest value is lower were recorded with fewer: 10, 12 or 14
DEEP = "16 bit colours"  # of which Pillow keeps the upper eight bits
MOST_LEVELS = 16  # of a mask that gives each of several tissues its own
GREY = 0.2  # of a mask's pixels; at BUSI soft edges reach a tenth, 99 of 100 images have more
ORIENTATION = 0x0112  # EXIF tag


class Broken(Exception):
    """A file that breaks a rule; whoever knows the case turns this into a `Problem`."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule, self.text = rule, text


@dataclass(frozen=True)
class Mask:
    pixels: np.ndarray  # uint8 [h, w], 0 or 1
    levels: int  # how many different values the file holds; 2 are binary
    painted: tuple[str, ...] = ()  # classes whose colour occurs


def check_place(path: Path, root: Path) -> None:
    """The rules of a file's place, before it is opened."""
    try:
        _check_place(path, root)
    except OSError as error:
        raise Broken("unreadable", f"cannot be looked at: {error.strerror}") from None


def _check_place(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise Broken("missing", "is a link that leads nowhere")
    if not is_inside(path, root):
        raise Broken("outside", "leads out of the data set's folder; put the file itself there")
    if not path.exists():
        raise Broken("missing", f"there is no such file{_alike(path)}")
    if not is_plain_file(path):
        raise Broken("not-a-file", "is a folder, pipe or device, not a file")
    if path.stat().st_size == 0:
        raise Broken("no-bytes", "has zero bytes; copy it again from the source")


def _alike(path: Path) -> str:
    """Other systems take names for equal that differ in their ending's case or in how accents are coded."""
    ending = path.with_suffix(path.suffix.swapcase())
    if ending != path and ending.exists():
        return f", but {ending.name!r}"
    for form in ("NFC", "NFD"):
        other = path.with_name(unicodedata.normalize(form, path.name))  # type: ignore[arg-type]
        if other != path and other.exists():
            return f", but one whose accents are coded otherwise (Unicode's {form})"
    return ""


def read_image(path: Path) -> np.ndarray:
    """Grey, 8 bit, [h, w]. 16 bits are scaled from their full range; transparency is ignored."""
    return _grey(_open(path))


def read_mask(path: Path, colours: Colours = ()) -> Mask:
    picture = _open(path)
    if colours:
        return _painted(picture, colours)
    return _two_levels(_values(picture))


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path, formats=FORMATS)
            picture.info[DEEP] = any(";16" in str(tile[3]) for tile in picture.tile)  # gone once it is loaded
            _check_header(picture)
            picture.load()
    except Broken:
        raise
    except Image.DecompressionBombError:
        raise Broken("too-large", f"its header promises more than {LARGEST:,} pixels") from None
    except UnidentifiedImageError:
        raise Broken("format", f"is not an image of a format read here ({', '.join(FORMATS)})") from None
    except Exception as error:  # broken files raise whatever the decoder stumbled over
        raise Broken("unreadable", f"cannot be decoded: {error or type(error).__name__}") from None
    return picture


def _check_header(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > LARGEST:
        raise Broken(
            "too-large", f"its header promises {width}×{height} pixels, at most {LARGEST:,} are read"
        )
    if min(width, height) < SMALLEST:
        raise Broken("too-small", f"has {width}×{height} pixels, at least {SMALLEST} a side are needed")
    frames = getattr(picture, "n_frames", 1)
    if frames != 1:
        raise Broken("frames", f"holds {frames} frames; save the one that is meant")
    turned = picture.getexif().get(ORIENTATION, 1)
    if turned not in (0, 1):
        raise Broken("rotated", f"is marked as turned (EXIF orientation {turned}); save it upright")


def _grey(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _eight_bits(np.asarray(picture))
    if picture.mode in ("RGBA", "PA", "P", "CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    if picture.info.get(DEEP):
        _refuse_dark(256 * int(np.asarray(picture.convert("RGB")).max()) + 255)
    return np.asarray(picture.convert("L"))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65_535:
        raise Broken(
            "depth", f"holds values from {values.min()} to {values.max()}; 8 and 16 bit images are read"
        )
    _refuse_dark(int(values.max()))
    return (values.astype(np.uint32) // 257).astype(np.uint8)


def _refuse_dark(highest: int) -> None:
    """Of 16 bits."""
    if 0 < highest < DARK:
        raise Broken(
            "depth",
            f"holds 16 bit values up to {highest} only; scale what was recorded with fewer bits to all "
            "of 0 to 65535, or save it with 8",
        )


def _values(picture: Image.Image) -> np.ndarray:
    """One number per pixel: 16 bit masks keep their values, colours become their brightest channel."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.asarray(picture)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    if picture.mode in ("LA", "RGBA", "PA") and _only_transparency(picture):
        raise Broken("mask-transparency", "draws its lesion in transparency only; save it in black and white")
    return np.asarray(picture.convert("RGB")).max(axis=2)


def _only_transparency(picture: Image.Image) -> bool:
    """Colours all alike, and see-through in places: then the shape is in the alpha channel."""
    pixels = np.asarray(picture.convert("RGBA"))
    return bool(np.ptp(pixels[..., :3], axis=(0, 1)).max() == 0 and np.ptp(pixels[..., 3]) > 0)


def _two_levels(values: np.ndarray) -> Mask:
    """Two levels are a mask whatever they are; of more, the upper half of the range is lesion."""
    levels = np.unique(values)
    if len(levels) <= 2 and levels[0] == 0:
        return Mask((values > 0).astype(np.uint8), len(levels))
    half = 32_767 if values.dtype.itemsize > 1 and levels[-1] > 255 else 127
    if levels[-1] <= half:
        raise Broken(
            "mask-levels", f"holds {len(levels)} grey levels up to {levels[-1]}; save it in black and white"
        )
    grey = float(np.mean((values > half / 2) & (values < half * 1.5)))
    if grey > GREY and len(levels) > MOST_LEVELS:
        raise Broken("mask-levels", f"is grey in {grey:.0%} of its pixels, as a picture is; a mask is needed")
    return Mask((values > half).astype(np.uint8), len(levels))


def _painted(picture: Image.Image, colours: Colours) -> Mask:
    """A pixel belongs to the class whose channel is bright while the others are dark."""
    pixels = np.asarray(picture.convert("RGB"))
    bright = pixels > 127
    names = tuple(
        name for name, colour in colours if np.any(np.all(bright == (np.array(colour) > 127), axis=2))
    )
    known = np.array([[False] * 3, *(np.array(colour) > 127 for _, colour in colours)])
    strange = ~np.any(np.all(bright[..., None, :] == known, axis=3), axis=2)
    if strange.any():
        y, x = np.argwhere(strange)[0]
        colour = tuple(int(value) for value in pixels[y, x])
        raise Broken(
            "mask-colour", f"has the colour {colour} at row {y}, column {x}, which stands for no class"
        )
    lesion = np.asarray(bright.any(axis=2), np.uint8)
    return Mask(lesion, len(np.unique(pixels.reshape(-1, 3), axis=0)), names)
