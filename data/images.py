"""Image files and encoded images, as Caffe sees them: C x H x W, channels blue, green, red, values 0 to 255."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError
from ..net.extras import extra


def find_image(name: str, root: str, listing: Path, folder: Path) -> Path:
    """The file ``root`` + ``name``, as Caffe joins them (a slash between is added where one is missing), beside the
    list that names it, beside the spec, or in the current folder. What is nowhere gets the first of these names."""
    plain = [name] if not root else [root + name, f"{root.rstrip('/')}/{name.lstrip('/')}"]
    paths = [place / path for place in (listing.parent, folder, Path()) for path in plain]
    return next((path for path in paths if path.is_file()), paths[len(plain) - 1])


def decode(
    source: Path | bytes, where: str, size: tuple[int, int] | None = None, color: bool | None = True
) -> np.ndarray:
    """An image in colour (3 x H x W) or grey (1 x H x W; ``color`` None: as it is stored), resized to (H, W) if
    ``size`` is given. Of 16 bits the upper 8 are taken.

    Raises NettrainError when it cannot be read.
    """
    library = extra("PIL.Image", "images", f"reading {where}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what matters here is the pixels
            with library.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if color is None:
                    color = library.getmodebase(image.mode) != "L"
                pixels = np.asarray(_eight_bits(image, library).convert("RGB" if color else "L"))
    except FileNotFoundError:
        raise NettrainError(f"{where}: there is no file {source!s}") from None
    except MemoryError:
        raise
    except Exception as error:  # pillow's readers of formats raise what they like on damaged files
        raise NettrainError(f"{where} is no image, or damaged: {error}") from None
    pixels = pixels.transpose(2, 0, 1)[::-1] if color else pixels[None]
    return pixels if size is None else resize(pixels, size)


def _eight_bits(image: Any, library: Any) -> Any:
    """An image of 16 bits a pixel with their upper 8, where pillow would cut off what is above 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return library.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """C x H x W bytes at another size, by bilinear interpolation between the centres of pixels, as OpenCV does it.

    No average is taken where an image becomes smaller, so that fine patterns may alias, as in Caffe.
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
