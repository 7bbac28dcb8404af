"""One picture from a file: upright, without transparency, in the channels and the size that a net takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...files.extras import extra
from ...spec.errors import NettrainError, why
from ..images import eight_bits, opened
from .heads import orientation

ENDINGS = (
    *(".bmp", ".dib", ".gif", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".png", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".ras", ".sun", ".tif", ".tiff", ".webp"),
)
PAPER = 255  # what shows through transparent pixels: white


def is_picture(name: str) -> bool:
    """Whether a file is one of pictures, by the ending of its name."""
    return name.lower().endswith(ENDINGS)


def picture(source: Path | bytes, name: str, color: bool, size: tuple[int, int] | None) -> np.ndarray:
    """C x H x W bytes, channels blue, green, red or one of grey, resized to (H, W) where ``size`` is given.

    It is turned as its EXIF orientation says. Transparent pixels show white. Of 16 bits the upper 8 are taken, of
    several frames the first. Where it becomes smaller pixels are averaged (pillow's bilinear filter), after a JPEG has
    been reduced by its own means to no less than twice the size. Raises NettrainError.
    """
    library, turning = extra("PIL.Image", "images", name), extra("PIL.ImageOps", "images", name)
    with opened(source, name) as image:
        if size is not None and image.format == "JPEG":
            image.draft(None, (2 * max(size),) * 2)
        kind = image.format
        if image.mode == "F" or (image.mode == "I" and kind not in ("PNG", "PPM")):
            raise NettrainError(
                f"{name} holds numbers of 32 bits, not a picture's 0 to 255; store such values in an .npy or .npz"
            )
        image.load()  # what follows a PNG's pixels may say how it lies
        turned = turning.exif_transpose(image) if orientation(image) != 1 else image
        flat, mode = _on_paper(eight_bits(turned, kind, library), library), "RGB" if color else "L"
        flat = flat if flat.mode == mode else flat.convert(mode)
        if size is not None and flat.size != size[::-1]:
            flat = flat.resize(size[::-1], library.Resampling.BILINEAR)
        pixels = np.asarray(flat)
    return pixels.transpose(2, 0, 1)[::-1] if color else pixels[None]


def _on_paper(image: Any, library: Any) -> Any:
    """An image without transparency, as if it lay on white paper."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    paper = library.new("RGBA", image.size, (PAPER,) * 4)
    return library.alpha_composite(paper, image)


def reason(name: str, error: BaseException) -> str:
    """Why a picture cannot be read, without its name."""
    return (str(error) if isinstance(error, NettrainError) else why(error)).removeprefix(name).strip(" :")
