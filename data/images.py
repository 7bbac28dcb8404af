"""Image files and encoded images, as Caffe sees them: C x H x W, channels blue, green, red, values 0 to 255."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..files.extras import extra
from ..files.reading import open_file, size_of
from ..spec.errors import NettrainError
from .kinds import other_kind

# What Caffe's reader of images knows, and GIF. Others are left out: one of pillow's formats even runs a program.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "SUN", "TIFF", "WEBP")
MOST_PIXELS, MOST_FOR_A_BYTE = 5_000_000, 6  # of an image, and as many more for each byte of its file: a photo has 3
LONGEST_SIDE = 1 << 18  # pixels; readers of formats keep several rows, and something for each
BAND = 1 << 20  # pixels converted at a time


def find_image(name: str, root: str, listing: Path, folder: Path) -> Path:
    """The file ``root`` + ``name``, as Caffe joins them (a slash between is added where one is missing), beside the
    list that names it, beside the spec, or in the current folder. In quotes it may be too. If it
    is nowhere, the first of these names."""
    plain = [name] if not root else [root + name, f"{root.rstrip('/')}/{name.lstrip('/')}"]
    paths = [place / path for place in (listing.parent, folder, Path()) for path in plain]
    found = next((path for path in paths if os.path.isfile(path)), None)
    if found is None and len(name) > 2 and name[0] == name[-1] == '"':  # as tables write names with blanks
        return find_image(name[1:-1], root, listing, folder)
    return found or paths[len(plain) - 1]


def entries(names: list[str], root: str, listing: Path, folder: Path) -> Iterator[str]:
    """The names of a list as paths, to compare lists by: all relative to where the first one lies."""
    first = os.path.realpath(find_image(names[0], root, listing, folder))
    own = os.path.normpath(names[0])
    base = first[: -len(own)].rstrip("/") if first.endswith(own) else os.path.dirname(os.path.realpath(listing))
    for name in names:
        path = name if name.startswith("/") else f"{base}/{name}"
        yield os.path.normpath(path) if "//" in path or "/." in path else path


def decode(
    source: Path | bytes, where: str, size: tuple[int, int] | None = None, color: bool | None = True
) -> np.ndarray:
    """An image in colour (3 x H x W) or grey (1 x H x W; ``color`` None: as it is stored), resized to (H, W) if
    ``size`` is given. Of 16 bits the upper 8 are taken, of several frames the first.

    Raises NettrainError when it cannot be read, or has more pixels than an honest file of its size.
    """
    library = extra("PIL.Image", "images", f"reading {where}")
    with opened(source, where) as image:
        if color is None:
            color = library.getmodebase(image.mode) != "L"
        pixels = _pixels(image, library, color)
    pixels = pixels.transpose(2, 0, 1)[::-1] if color else pixels[None]
    return pixels if size is None else resize(pixels, size)


_OF_PILLOW = r"PIL\."
_IGNORED = ("ignore", None, Warning, re.compile(_OF_PILLOW), 0)


def _ignore_warnings() -> None:
    """Of pillow's about odd metadata: what matters here is the pixels. From now on, since Python's filters are those of
    all threads, and several may read images; and before all filters, as that of a thread may be behind others."""
    if warnings.filters[:1] != [_IGNORED]:
        warnings.filterwarnings("ignore", module=_OF_PILLOW)


@contextlib.contextmanager
def opened(source: Path | bytes, where: str) -> Iterator[Any]:
    """An image as pillow has it, before its pixels are read. Raises NettrainError for what cannot be read, also while
    it is used, or has more pixels than an honest file of its size."""
    library = extra("PIL.Image", "images", f"reading {where}")
    _ignore_warnings()
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file,
            library.open(file, formats=FORMATS) as image,
        ):
            most = MOST_PIXELS + MOST_FOR_A_BYTE * (len(source) if isinstance(source, bytes) else size_of(file))
            if image.width * image.height > most or max(image.size) > LONGEST_SIDE:
                raise NettrainError(
                    f"{where} has {image.width:,} x {image.height:,} pixels; a file of its size may have up "
                    f"to {most:,}, and {LONGEST_SIDE:,} on a side"
                )
            yield image
    except FileNotFoundError:
        raise NettrainError(f"{where}: there is no file {source!s}") from None
    except NettrainError:
        raise
    except library.DecompressionBombError:
        raise NettrainError(f"{where} has more pixels than any file may have") from None
    except MemoryError:
        raise NettrainError(f"{where} needs more memory than this machine has left", exit_code=1) from None
    except Exception as error:  # pillow's readers of formats raise what they like on damaged files
        if isinstance(error, OSError) and error.strerror:
            raise NettrainError(f"{where} cannot be read: {error.strerror}") from None
        if kind := other_kind(source, "image") if isinstance(source, Path) else "":
            raise NettrainError(f"{where} is not an image{kind}") from None
        if isinstance(error, library.UnidentifiedImageError):  # it speaks of objects
            raise NettrainError(f"{where} is not an image, or is damaged") from None
        raise NettrainError(f"{where} is not an image, or is damaged: {error}") from None


def size_in_head(path: Path) -> tuple[int, int] | None:
    """(height, width) as an image file's head says; None where it cannot be read, which reading the image will say."""
    library = extra("PIL.Image", "images", f"reading {path}")
    _ignore_warnings()
    try:
        with open_file(path) as file, library.open(file, formats=FORMATS) as image:
            return image.size[::-1]
    except Exception:  # as above
        return None


def _pixels(image: Any, library: Any, color: bool) -> np.ndarray:
    """H x W x 3 or H x W bytes, some rows at a time: pillow's conversions copy all they are given."""
    height, width = image.height, image.width
    pixels = np.empty((height, width, 3) if color else (height, width), np.uint8)
    rows = max(1, BAND // max(1, width))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height))) if rows < height else image
        pixels[top : top + rows] = np.asarray(eight_bits(band, image.format, library).convert("RGB" if color else "L"))
    return pixels


def eight_bits(image: Any, kind: str | None, library: Any) -> Any:
    """An image of 16 bits a pixel with their upper 8, where pillow would clip what is above 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM")):
        return library.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """C x H x W bytes at another size, by bilinear interpolation between the centres of pixels, as OpenCV does it.

    Nothing is averaged where an image becomes smaller, so that fine patterns may alias, as in Caffe.
    """
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = pixels.shape[axis]
        if have == wanted:
            continue
        at = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *[1] * (2 - axis))
        first, second = (np.take(pixels, i, axis).astype(float) for i in (low, np.minimum(low + 1, have - 1)))
        pixels = first + share * (second - first)
    return np.rint(pixels).astype(np.uint8) if pixels.dtype != np.uint8 else pixels
