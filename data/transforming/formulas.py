"""What is done to whole batches of images N x C x H x W: resized, rotated, padded, their colours changed, parts erased,
mixed. Each is a formula; what is random is drawn from the generator that is handed in, for all images at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dataset import by_size, of_any_size

ATTEMPTS = 10  # to draw a rectangle that fits, as torchvision does
PIECE = 1 << 13  # values that are worked on at a time where there are many steps: they stay in a processor's cache
GREY = (0.2989, 0.587, 0.114)  # of red, green, blue, as PyTorch and pillow weigh them


def resized(x: np.ndarray, size: tuple[int, int], boxes: np.ndarray | None = None) -> np.ndarray:
    """Each image, or of each its box (top, left, height, width), at another size: N x C x size.

    Along each axis pixel i is the mean of the box's pixels j, weighed by max(0, 1 - |j + 1/2 - c| / s), with
    c = (i + 1/2) have / size and s = max(1, have / size): bilinear interpolation, which averages where an image becomes
    smaller. Source: PyTorch's interpolate(mode="bilinear", antialias=True).

    It is summed pixel by pixel and not by products of matrices, whose last bits may depend on the number of threads.
    """
    box = np.array([[0, 0, *x.shape[2:]]]) if boxes is None else boxes
    for axis, wanted in enumerate(size):  # the rows; then, with rows and columns exchanged, those
        index, weights = _neighbours(box[:, axis], box[:, axis + 2], wanted)
        weights = weights.astype(x.dtype)[..., None]
        result = np.empty((*x.shape[:2], wanted, x.shape[3]), x.dtype)
        step = max(1, PIECE // math.prod(result.shape[1:])) if boxes is None else 1
        for start in range(0, len(x), step):
            some, which = slice(start, start + step), 0 if boxes is None else start
            total = np.zeros_like(result[some])
            for at, weight in zip(index[which], weights[which], strict=True):
                part = np.take(x[some], at, axis=2)
                part *= weight
                total += part
            result[some] = total
        x = np.ascontiguousarray(result.swapaxes(2, 3))
    return x


def _neighbours(begin: np.ndarray, have: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, weights) of the pixels before that a pixel after is made of, along one axis: boxes x pixels x size."""
    begin, have = begin[:, None, None], have[:, None, None]
    step = have / size
    reach = np.maximum(1, step)
    centre = begin + (np.arange(size) + 0.5) * step
    pixel = np.floor(centre - reach).astype(int) + np.arange(int(np.ceil(2 * reach.max())) + 2)[:, None]
    weights = np.maximum(0, 1 - np.abs(pixel + 0.5 - centre) / reach)
    weights *= (pixel >= begin) & (pixel < begin + have)
    used = weights.any(axis=(0, 2))
    pixel, weights = np.clip(pixel, begin, begin + have - 1), weights / weights.sum(axis=1, keepdims=True)
    return pixel[:, used], weights[:, used]


def nearest(x: np.ndarray, size: tuple[int, int], boxes: np.ndarray | None = None) -> np.ndarray:
    """As ``resized``, for maps N x H x W or N x C x H x W of labels, which have nothing between them."""
    box = np.array([[0, 0, *x.shape[-2:]]]) if boxes is None else boxes
    box = np.broadcast_to(box, (len(x), 4))
    rows, columns = (
        box[:, at, None] + ((np.arange(wanted) + 0.5) * box[:, at + 2, None] / wanted).astype(int)
        for at, wanted in enumerate(size)
    )
    return pixels(x, np.arange(len(x)), rows, columns)


def pixels(array: np.ndarray, indices: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The images N x C x H x W or maps N x H x W with these numbers, each at its own rows and columns."""
    if array.ndim == 3:
        return array[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
    channels = np.arange(array.shape[1])[:, None, None]
    return array[indices[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]


def rotated(x: np.ndarray, degrees: np.ndarray, edge: bool, blend: bool = True) -> np.ndarray:
    """Each image (or map, N x H x W) turned about its centre, counter-clockwise, in its own size.

    A pixel at (dy, dx) from the centre takes the value at (dx sin a + dy cos a, dx cos a - dy sin a), bilinear between
    four pixels, or without ``blend`` the nearest. What lies beyond the image is 0, or with ``edge`` its nearest pixel.
    """
    result = np.empty_like(x)
    step = max(1, PIECE // math.prod(x.shape[-2:]))  # images whose coordinates fit into a processor's cache
    for start in range(0, len(x), step):
        some = slice(start, start + step)
        result[some] = _rotated(np.ascontiguousarray(x[some]), degrees[some], edge, blend)
    return result


def _rotated(x: np.ndarray, degrees: np.ndarray, edge: bool, blend: bool) -> np.ndarray:
    *_, height, width = x.shape
    angle = np.deg2rad(degrees)[:, None, None]
    dy = np.arange(height)[:, None] - (height - 1) / 2
    dx = np.arange(width) - (width - 1) / 2
    at_y = dx * np.sin(angle) + dy * np.cos(angle) + (height - 1) / 2
    at_x = dx * np.cos(angle) - dy * np.sin(angle) + (width - 1) / 2
    if edge:
        at_y, at_x = np.clip(at_y, 0, height - 1), np.clip(at_x, 0, width - 1)
    if not blend:
        at_y, at_x = np.rint(at_y), np.rint(at_x)
    low_y, low_x = np.floor(at_y), np.floor(at_x)
    share_y, share_x = at_y - low_y, at_x - low_x
    planes = np.arange(x.size // (height * width)).reshape(len(x), -1, 1) * (height * width)  # where each begins
    result = np.zeros((*planes.shape[:2], height * width), x.dtype)
    for below in (0, 1) if blend else (0,):
        for right in (0, 1) if blend else (0,):
            row, column = low_y + below, low_x + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = (np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)).astype(int)
            share = np.abs(1 - below - share_y) * np.abs(1 - right - share_x) if blend else 1
            found = np.take(x, place.reshape(len(x), 1, -1) + planes)
            found *= (share * inside).astype(x.dtype).reshape(len(x), 1, -1)
            result += found
    return result.reshape(x.shape)


def padded(x: np.ndarray, border: int, edge: bool) -> np.ndarray:
    """Images or maps with a border of zeros, or with ``edge`` of their outermost pixels."""
    sides = [(0, 0)] * (x.ndim - 2) + [(border, border)] * 2
    return np.pad(x, sides, mode="edge") if edge else np.pad(x, sides)


def draw_boxes(
    rng: np.random.Generator,
    count: int,
    size: tuple[int, int],
    scale: tuple[float, ...],
    ratio: tuple[float, ...],
    smaller: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(count x (top, left, height, width), which were found): rectangles at random places in an image of H x W.

    Their share of the area is uniform in ``scale``, the logarithm of ``ratio`` uniform between its ends; of
    ``ATTEMPTS`` the first that fits is taken, with ``smaller`` one that is smaller than the image in both directions.
    ``ratio`` is width to height. Where none fits, the box is the largest with an allowed ratio, in the middle.
    """
    height, width = size
    (least, most), (narrow, wide) = scale, np.log(ratio).tolist()
    area = height * width * rng.uniform(least, most, (count, ATTEMPTS))
    shape = np.exp(rng.uniform(narrow, wide, (count, ATTEMPTS)))
    w, h = np.rint(np.sqrt(area * shape)).astype(int), np.rint(np.sqrt(area / shape)).astype(int)
    fits = (h > 0) & (w > 0) & (h <= height - smaller) & (w <= width - smaller)
    first = fits.argmax(axis=1)
    found = np.asarray(fits.any(axis=1))
    h, w = h[np.arange(count), first], w[np.arange(count), first]
    between = min(max(width / height, ratio[0]), ratio[1])
    h[~found] = height if width / height >= between else max(1, round(width / between))
    w[~found] = width if width / height <= between else max(1, round(height * between))
    places = rng.random((2, count))
    top, left = (places * (np.array([height - h, width - w]) + 1)).astype(int)
    top[~found], left[~found] = (height - h[~found]) // 2, (width - w[~found]) // 2
    return np.stack([top, left, h, w], axis=1), found


def grey(x: np.ndarray, bgr: bool) -> np.ndarray:
    """N x 1 x H x W, the brightness of each pixel."""
    if x.shape[1] == 1:
        return x.copy()
    weights = np.array(GREY[::-1] if bgr else GREY, x.dtype)
    return np.einsum("nchw,c->nhw", x, weights)[:, None]


def jittered(
    x: np.ndarray, brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray, limit: float, bgr: bool
) -> None:
    """Change the colours, in this order, in place; each result is cut off at 0 and ``limit``. For each image a factor:

    brightness: x = b x.    contrast: x = c x + (1 - c) m, m the mean of the grey image.    saturation: x = s x +
    (1 - s) g, g the grey pixel.    Source: PyTorch's ColorJitter, whose order is random.
    """
    b, c, s = (factor.astype(x.dtype).reshape(-1, 1, 1, 1) for factor in (brightness, contrast, saturation))
    if (b != 1).any():
        x *= b
        np.clip(x, 0, limit, out=x)
    if (c != 1).any():
        mean = grey(x, bgr).mean(axis=(1, 2, 3), keepdims=True)
        x *= c
        x += (1 - c) * mean
        np.clip(x, 0, limit, out=x)
    if (s != 1).any() and x.shape[1] > 1:
        gray = grey(x, bgr)
        x *= s
        x += (1 - s) * gray
        np.clip(x, 0, limit, out=x)


def erase(x: np.ndarray, boxes: np.ndarray) -> None:
    """Set each image's box (top, left, height, width) to 0, in place; one of no height leaves it as it is."""
    top, left, height, width = boxes.T[:, :, None]
    row, column = np.arange(x.shape[2]), np.arange(x.shape[3])
    rows = (row >= top) & (row < top + height)
    columns = (column >= left) & (column < left + width)
    x[np.broadcast_to((rows[:, :, None] & columns[:, None, :])[:, None], x.shape)] = 0


def mix(arrays: list[np.ndarray], alpha: float, rng: np.random.Generator) -> None:
    """x = l x + (1 - l) x[partner] in place, for all arrays alike: l from Beta(alpha, alpha), one for the batch, the
    partners a permutation of it.

    Source: mixup: Beyond Empirical Risk Minimization (Zhang, Cisse, Dauphin and Lopez-Paz, 2018).
    """
    share, partner = rng.beta(alpha, alpha), rng.permutation(len(arrays[0]))
    for x in arrays:
        other = x[partner]
        other *= 1 - share
        x *= share
        x += other


def statistics(examples: Any, channels: int, at_once: int = 1 << 20) -> tuple[np.ndarray, np.ndarray]:
    """(mean, deviation) of each channel over examples N x C x …, some at a time, which need not lie in memory.

    The deviation is that of the whole population, as numpy's std. Parts are joined by the formula of Chan, Golub and
    LeVeque (1979), which loses no digits where the mean is large. Values are counted from the first of their channel,
    so that one with a single value has a deviation of exactly 0.
    """
    count, first, mean, squares = 0, np.zeros(channels), np.zeros(channels), np.zeros(channels)
    step = max(1, at_once // max(1, math.prod(examples.shape[1:])))
    for start in range(0, len(examples), step):
        numbers = np.arange(start, min(start + step, len(examples)))
        for _, found in by_size(of_any_size(examples, numbers)):
            part = np.asarray(found, float).reshape(len(found), channels, -1)
            if not count:
                first = part[0, :, 0].copy()
            part = part - first[:, None]
            n, its_mean = part.shape[0] * part.shape[2], part.mean(axis=(0, 2))
            part -= its_mean[:, None]
            delta = its_mean - mean
            squares += np.einsum("ncp,ncp->c", part, part) + delta**2 * (count * n / (count + n))
            count += n
            mean += delta * (n / count)
    return first + mean, np.sqrt(squares / count)
