"""Image files and encoded images, as Caffe sees them: C x H x W, channels blue, green, red, values 0 to 255."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..net.errors import NettrainError
from ..net.extras import extra


def decode(source: Path | bytes, where: str, size: tuple[int, int] | None = None, color: bool = True) -> np.ndarray:
    """An image in colour (3 x H x W) or grey (1 x H x W), resized to (H, W) if ``size`` is given.

    Raises NettrainError when it cannot be read.
    """
    library = extra("PIL.Image", "images", f"reading {where}")
    try:
        with library.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            pixels = np.asarray(image.convert("RGB" if color else "L"))
    except FileNotFoundError:
        raise NettrainError(f"{where}: there is no file {source!s}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise NettrainError(f"{where} is no image, or damaged: {error}") from None
    pixels = pixels.transpose(2, 0, 1)[::-1] if color else pixels[None]
    return pixels if size is None else resize(pixels, size)


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
