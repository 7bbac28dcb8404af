"""What is done to examples on their way into the net, for a whole batch at once: Caffe's transform_param, that is
(pixel - mean) * scale with crop and mirror, and what images are usually trained with besides.

The order is fixed: resize, rotate, pad, crop or random_resized_crop, mirror, vertical_flip, jitter, mean and scale or
normalize, erase, mixup. So is the order of random numbers: those of crop, mirror, vertical_flip, rotate,
random_resized_crop, jitter, erase, mixup. What is added later in this row leaves crops and flips as they were.
It is one file, because the order is what one wants to see; the formulas are in ``transforming``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..spec.advice import say
from ..spec.declare import Declared, param
from ..spec.errors import NettrainError, blaming, format_shape
from .arrays import Check, read_mean
from .dataset import by_size, of_any_size
from .sources import find_file
from .transforming import formulas
from .transforming.facts import NOTHING, Facts
from .transforming.formulas import pixels
from .transforming.records import Erase, Jitter, Mixup, Normalize, RandomResizedCrop

CAFFES = ("scale", "mean_value", "mean_file", "crop_size", "mirror", "force_color", "force_gray")
ON_IMAGES = ("resize", "rotate", "pad", "random_resized_crop", "vertical_flip", "jitter", "normalize", "erase")


class Transform(Declared):
    """What is done to each example on its way into the net. Nothing is random but in TRAIN."""

    scale: float = param(default=1.0, doc="multiplies every value, after the mean is subtracted")
    mean_value: tuple[float, ...] = param(
        default=(), doc="subtracted from every value: one number, or one for each channel"
    )
    mean_file: str = param(
        default="", doc="a .npy, .npz or .binaryproto with an image C x H x W that is subtracted, before the crop"
    )
    crop_size: int = param(default=0, minimum=0, doc="side of a square cut out: at random in TRAIN, the centre in TEST")
    mirror: bool = param(default=False, doc="flip left and right with probability 1/2, in TRAIN")

    force_color: bool = param(default=False, doc="encoded records: three channels, grey ones too")
    force_gray: bool = param(default=False, doc="encoded records: one channel, coloured ones too")

    resize: tuple[int, ...] = param(
        default=(), minimum=1, doc="height and width that images are resized to; one number: a square"
    )
    random_resized_crop: RandomResizedCrop | None = param(
        default=None, doc="TRAIN: a part at random, resized to crop_size or the whole's size; true or {scale, ratio}"
    )
    pad: int = param(default=0, minimum=0, doc="TRAIN: pixels put around images before a crop at random")
    rotate: float = param(default=0.0, minimum=0, maximum=180, doc="TRAIN: turn by up to so many degrees, either way")
    fill: Literal["zeros", "edge"] = param(default="zeros", doc="what lies beyond an image, for pad and rotate")
    vertical_flip: bool = param(default=False, doc="flip upside down with probability 1/2, in TRAIN")
    jitter: Jitter | None = param(default=None, doc="TRAIN: change colours; {brightness, contrast, saturation}")
    normalize: Normalize | None = param(
        default=None, doc="(value - mean) / deviation of each channel of the training images; true or {mean, std}"
    )
    erase: Erase | None = param(default=None, doc="TRAIN: set a rectangle to 0, with this probability")
    mixup: Mixup | None = param(default=None, doc="TRAIN: mix pairs of examples and labels; alpha, such as 0.2")

    aliases = {
        "mean": "mean_value",
        "subtract": "mean_value",
        "std": say("values are divided by it with {} or {}, 1 / std", "normalize", "scale"),
        "rescale": "scale",
        "crop": "crop_size",
        "flip": "mirror",
        "horizontal_flip": "mirror",
        "vflip": "vertical_flip",
        "random_crop": "crop_size",
        "padding": "pad",
        "rotation": "rotate",
        "degrees": "rotate",
        "color_jitter": "jitter",
        "brightness": "write it as jitter: {brightness: …}",
        "contrast": "write it as jitter: {contrast: …}",
        "saturation": "write it as jitter: {saturation: …}",
        "random_erasing": "erase",
        "cutout": "erase",
        "standardize": "normalize",
    }

    # a mean image belongs to pixels at their places
    exclusive = (
        ("mean_value", "mean_file", "normalize"),
        ("scale", "normalize"),
        *(("mean_file", key) for key in ("resize", "rotate", "pad", "random_resized_crop")),
        ("pad", "random_resized_crop"),
        ("force_color", "force_gray"),
    )

    def validate(self) -> Iterable[tuple[str, str]]:
        if len(self.resize) > 2:
            yield "resize", f"is [height, width], or one number for a square, got {len(self.resize)} numbers"

    @property
    def beyond_caffe(self) -> list[str]:
        """The keys in use that Caffe does not have."""
        return [one.name for one in self.fields() if one.name not in CAFFES and getattr(self, one.name) != one.default]

    @property
    def color(self) -> bool | None:
        """How encoded images are decoded: in colour, in grey, or as they are stored (None)."""
        return True if self.force_color else False if self.force_gray else None

    def unforced(self, instead: str) -> Iterable[tuple[str, str]]:
        """That a layer which reads image files has no records, and what to write there ``instead``."""
        if self.color is not None:
            words = "force_color" if self.color else "force_gray"
            yield "transform", f"has {words}, which is for Data whose records are encoded images; {instead}"

    def mean(self, folder: Path, shape: tuple[int, ...] | None = None, check: Check | None = None) -> np.ndarray | None:
        """The array in mean_file, of an example's ``shape`` or of one that ``check`` takes; None without one.

        Raises NettrainError.
        """
        if not self.mean_file:
            return None

        def check_shape(found: tuple[int, ...]) -> None:
            if shape is not None and found != shape:
                raise NettrainError(
                    f"mean_file {path} holds {format_shape(found)}, the examples are {format_shape(shape)}"
                )

        with blaming("transform"):
            path = find_file(self.mean_file, folder)
            return read_mean(path, check_shape if shape is not None else check)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a transformed example. Raises NettrainError when the transform does not fit the examples."""
        if len(self.mean_value) > 1 and (not shape or len(self.mean_value) != shape[0]):
            raise NettrainError(
                f"mean_value has {len(self.mean_value)} values, the examples ({format_shape(shape)}) have "
                f"{shape[0] if shape else 0} channel{'s' if shape[:1] != (1,) else ''}",
                key="transform",
            )
        if (self.crop_size or self.mirror) and len(shape) != 3:
            raise NettrainError(
                f"crop_size and mirror need C x H x W examples, got {format_shape(shape)}", key="transform"
            )
        for key in ON_IMAGES:
            if getattr(self, key) and len(shape) != 3:
                hint = "; for a table there is standardize" if key == "normalize" and len(shape) == 1 else ""
                raise NettrainError(f"{key} needs C x H x W examples, got {format_shape(shape)}{hint}", key="transform")
        given = self.normalize.mean if self.normalize else ()
        if given and len(given) != shape[0]:
            raise NettrainError(
                f"normalize has {len(given)} means, the examples ({format_shape(shape)}) have {shape[0]} "
                f"channel{'s' if shape[0] != 1 else ''}",
                key="transform",
            )
        if self.jitter and shape[0] not in (1, 3):
            raise NettrainError(f"jitter needs images of 1 or 3 channels, got {format_shape(shape)}", key="transform")
        if self.resize:
            shape = (shape[0], *self.new_size)
        if self.crop_size:
            if self.crop_size > min(shape[1:]):
                raise NettrainError(
                    f"crop_size {self.crop_size} is larger than the images ({format_shape(shape)})", key="transform"
                )
            return (shape[0], self.crop_size, self.crop_size)
        return shape

    @property
    def new_size(self) -> tuple[int, int]:
        """Height and width of ``resize``."""
        return (self.resize[0], self.resize[-1])

    def is_map(self, array: Any, shape: tuple[int, ...]) -> bool:
        """Whether labels have a value for each pixel of examples of this shape, which follow where pixels move.

        Raises NettrainError where they cannot follow.
        """
        moved = self.crop_size or self.mirror or self.vertical_flip or self.resize or self.pad or self.rotate
        moves = (moved or self.random_resized_crop) and len(shape) == 3
        is_map = array is not None and len(array.shape) in (3, 4) and tuple(array.shape[-2:]) == tuple(shape[1:])
        if moves and is_map and (self.pad or self.rotate) and self.fill == "zeros":
            key = "pad" if self.pad else "rotate"
            raise NettrainError(
                f"{key} gives pixels from beyond the image, which the label map has no label for; write fill: edge",
                key="transform",
            )
        return bool(moves and is_map)

    def apply(
        self,
        data: Any,
        indices: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator | None,
        mean: np.ndarray | None = None,
        maps: Sequence[tuple[np.ndarray, np.ndarray]] = (),
        facts: Facts = NOTHING,
    ) -> None:
        """Write the examples ``data[indices]``, transformed, into ``out``. ``rng`` None: nothing random.

        ``mean`` is what ``mean()`` gave: it is cropped and flipped with each example. So are the label maps of the
        examples, in pairs of (maps, where to write). ``facts`` is what ``find_facts`` gave. Images of several sizes,
        where one is made of them, are worked on size by size, in the order in which these first come.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # an infinity then, which is found where it does harm
            if isinstance(data, np.ndarray):
                self._apply(data, indices, indices, out, rng, mean, maps, facts)
                return
            check = partial(self._check_size, mean=mean)  # what is not in memory is read once
            for places, some in by_size(of_any_size(data, indices, check) if self.makes_one_size else data[indices]):
                is_all = len(places) == len(indices)
                part = out if is_all else np.empty((len(places), *out.shape[1:]), out.dtype)
                maps = maps if is_all else ()
                self._apply(some, np.arange(len(places)), indices[places], part, rng, mean, maps, facts)
                if not is_all:
                    out[places] = part

    @property
    def makes_one_size(self) -> bool:
        """Whether images of several sizes have one afterwards."""
        return bool(self.crop_size or self.resize)

    def _check_size(self, shape: tuple[int, ...], mean: np.ndarray | None) -> None:
        """Raise NettrainError for an image that nothing of the wanted size can be made of."""
        self.output_shape(shape)
        if mean is not None and shape != mean.shape:
            raise NettrainError(f"it is {format_shape(shape)}, and mean_file holds {format_shape(mean.shape)}")

    def _apply(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        examples: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator | None,
        mean: np.ndarray | None,
        maps: Sequence[tuple[np.ndarray, np.ndarray]],
        facts: Facts,
    ) -> None:
        """As ``apply``, of images of one size; ``examples`` are their numbers among the maps."""
        read_maps = [(*in_memory(array, examples), place) for array, place in maps]
        data, indices = in_memory(data, indices)
        if self.resize or (rng is not None and (self.pad or self.rotate or self.random_resized_crop)):
            self._reshape(data[indices], out, rng, [(array[numbers], place) for array, numbers, place in read_maps])
        elif self.crop_size or self.mirror or self.vertical_flip:
            rows, columns = self._places(data.shape, len(indices), out.shape, rng)
            np.copyto(out, pixels(data, indices, rows, columns))
            for array, numbers, place in read_maps:
                np.copyto(place, pixels(array, numbers, rows, columns))
        else:
            np.copyto(out, data[indices])
        if self.jitter and rng is not None:
            about = [getattr(self.jitter, name) for name in ("brightness", "contrast", "saturation")]
            bright, contrast, colour = (rng.uniform(max(0.0, 1 - x), 1 + x, len(out)) for x in about)
            formulas.jittered(out, bright, contrast, colour, facts.limit, facts.bgr)
        if mean is not None and (self.crop_size or self.mirror or self.vertical_flip):
            out -= pixels(mean[None], np.zeros_like(indices), rows, columns)
        elif mean is not None:
            out -= mean
        if self.mean_value:
            values = np.asarray(self.mean_value, out.dtype)
            out -= values.reshape(-1, *[1] * (out.ndim - 2)) if values.size > 1 else values
        if self.scale != 1:
            out *= self.scale
        if facts.mean is not None and facts.std is not None:
            out -= facts.mean.astype(out.dtype)[:, None, None]
            out /= facts.std.astype(out.dtype)[:, None, None]
        if self.erase and rng is not None:
            erased = rng.random(len(out)) < self.erase.probability
            least, most = self.erase.ratio  # of height to width; boxes are drawn by width to height
            about_size = (self.erase.scale, (1 / most, 1 / least))
            boxes, found = formulas.draw_boxes(rng, len(out), out.shape[2:], *about_size, smaller=True)
            boxes[~(erased & found)] = 0
            formulas.erase(out, boxes)

    def _reshape(
        self,
        images: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator | None,
        maps: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Resize, rotate, pad and cut the images, and move their maps alike: labels are taken from the nearest pixel.

        All that is random is drawn first."""
        edge, count, border = self.fill == "edge", len(images), self.pad if rng is not None else 0
        size = self.new_size if self.resize else images.shape[2:]
        box = self.random_resized_crop if rng is not None else None
        cut = out.shape[2:]
        whole = cut if box else (size[0] + 2 * border, size[1] + 2 * border)
        rows, columns = self._places((*images.shape[:2], *whole), count, out.shape, rng)
        degrees = rng.uniform(-self.rotate, self.rotate, count) if self.rotate and rng is not None else None
        boxes = formulas.draw_boxes(rng, count, size, box.scale, box.ratio)[0] if box and rng is not None else None
        for x, place, is_map in [(images, out, False), *((array, place, True) for array, place in maps)]:
            resize = formulas.nearest if is_map else formulas.resized
            if not is_map and (self.resize or degrees is not None or boxes is not None):
                x = x.astype(out.dtype)
            if self.resize:
                x = resize(x, size)
            if degrees is not None:
                x = formulas.rotated(x, degrees, edge, blend=not is_map)
            if border:
                x = formulas.padded(x, border, edge)
            if boxes is not None:
                x = resize(x, cut, boxes)
            if whole != cut or self.mirror or self.vertical_flip:
                x = pixels(x, np.arange(count), rows, columns)
            np.copyto(place, x)

    def _places(
        self, have: tuple[int, ...], count: int, wanted: tuple[int, ...], rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row and column numbers of the cropped and flipped pixels of each example."""
        (height, width), (rows, columns) = have[2:], wanted[2:]
        if rng is not None:
            top = rng.integers(0, height - rows + 1, count)
            left = rng.integers(0, width - columns + 1, count)
        else:
            top = np.full(count, (height - rows) // 2)
            left = np.full(count, (width - columns) // 2)
        h = top[:, None] + np.arange(rows)
        w = left[:, None] + np.arange(columns)
        if self.mirror and rng is not None:
            flipped = rng.random(count) < 0.5
            w[flipped] = w[flipped, ::-1]
        if self.vertical_flip and rng is not None:
            flipped = rng.random(count) < 0.5
            h[flipped] = h[flipped, ::-1]
        return h, w


def in_memory(array: Any, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(array, numbers of the wanted rows in it): the rows alone of what is not in memory, which is read once."""
    return (array, numbers) if isinstance(array, np.ndarray) else (array[numbers], np.arange(len(numbers)))
