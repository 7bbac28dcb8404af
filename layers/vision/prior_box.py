"""PriorBox: the boxes that a detector begins with, around every place of a feature map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape

FARTHEST = 1e6  # pixels, more than any image has
CLOSE = 1e-6  # aspect ratios nearer to each other are the same


@register
class PriorBox(Layer):
    """Boxes around every place of a feature map, P at each, with what their offsets are multiplied by.

    bottom[0]: N x C x H x W, the feature map.    bottom[1], if given: the image. Only their sizes matter.
    top[0]: 1 x 2 x H·W·P·4: left, upper, right and lower end of each box, in parts of the image; then the variances.
    For each min_size s, cut to an integer: s x s; with its max_size m √(s m) x √(s m); and s √a x s / √a for each
    aspect ratio a other than 1, followed by 1 / a with ``flip``. The box at row i, column j has its centre at
    ((j + offset) step_w, (i + offset) step_h), the step being image / feature map unless it is given.
    Errors: not 4 axes; no image, neither as a bottom nor by its size.
    Source: SSD's PriorBox (Liu et al. 2016).
    """

    class Parameters(Declared):
        min_size: tuple[float, ...] = param(
            minimum=1, maximum=FARTHEST, doc="sizes of the square boxes, in pixels of the image"
        )
        max_size: tuple[float, ...] = param(
            default=(), above=1, maximum=FARTHEST, doc="for each min_size a larger one, for one box more"
        )
        aspect_ratio: tuple[float, ...] = param(
            default=(), minimum=0.001, maximum=1000, doc="width / height of the boxes that are no square"
        )
        flip: bool = param(default=True, doc="whether each aspect ratio is used both ways")
        clip: bool = param(default=False, doc="whether boxes end at the image's border")
        variance: tuple[float, ...] = param(
            default=(0.1,), above=0, maximum=FARTHEST, doc="one number, or one for each end of a box"
        )
        img_size: int | None = param(default=None, minimum=1, doc="side of the image, in place of a second bottom's")
        img_h: int | None = param(default=None, minimum=1, doc="its height, with img_w")
        img_w: int | None = param(default=None, minimum=1, doc="its width")
        step: float | None = param(
            default=None, above=0, maximum=FARTHEST, doc="pixels of the image from place to place"
        )
        step_h: float | None = param(
            default=None, above=0, maximum=FARTHEST, doc="the same from row to row, with step_w"
        )
        step_w: float | None = param(default=None, above=0, maximum=FARTHEST, doc="from column to column")
        offset: float = param(default=0.5, minimum=-1000, maximum=1000, doc="where in its place a box has its centre")

        exclusive = (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w")))
        aliases = {"prior_box_param": "write its fields beside type"}

        def validate(self) -> Iterable[tuple[str, str]]:
            for stem in ("img", "step"):
                for key, other in ((f"{stem}_h", f"{stem}_w"), (f"{stem}_w", f"{stem}_h")):
                    if getattr(self, key) is not None and getattr(self, other) is None:
                        yield key, f"needs `{other}` too"
            if not self.min_size:
                yield "min_size", "needs at least one size"
            if len(self.max_size) not in (0, len(self.min_size)):
                yield "max_size", f"needs one for each min_size, {len(self.min_size)}, got {len(self.max_size)}"
            for small, large in zip(self.min_size, self.max_size, strict=False):
                if large <= small:
                    yield "max_size", f"must be larger than min_size, got {large:g} and {small:g}"
            if len(self.variance) not in (1, 4):
                yield "variance", f"must be 1 number or 4, got {len(self.variance)}"

        def boxes(self) -> list[tuple[float, float]]:
            """(width, height) of each box at a place, in pixels of the image."""
            ratios: list[float] = [1.0]
            for ratio in self.aspect_ratio:
                if all(abs(ratio - other) >= CLOSE for other in ratios):
                    ratios += [ratio, 1 / ratio] if self.flip else [ratio]
            found = []
            for i, size in enumerate(map(int, self.min_size)):
                found.append((float(size), float(size)))
                if self.max_size:
                    between = (size * int(self.max_size[i])) ** 0.5
                    found.append((between, between))
                found += [(size * ratio**0.5, size / ratio**0.5) for ratio in ratios if abs(ratio - 1) >= CLOSE]
            return found

    num_bottoms = (1, 2)
    no_gradient = "all"
    any_layout = True
    examples = (
        Example([(2, 3, 2, 3), (2, 3, 20, 30)], {"min_size": 5, "max_size": 9, "aspect_ratio": [2, 3]}),
        Example([(1, 2, 2, 2)], {"min_size": [4, 7.5], "img_size": 16, "flip": False, "aspect_ratio": 2, "clip": True}),
        Example(
            [(1, 2, 1, 3)],
            {"min_size": 4, "img_h": 8, "img_w": 24, "step": 8, "offset": 0, "variance": [0.1, 0.1, 0.2, 0.2]},
        ),
    )

    def setup(self, bottom, top):
        given = next((key for key in ("img_size", "img_h") if getattr(self.p, key) is not None), None)
        if len(bottom) == 1 and given is None:
            raise ShapeError("needs the image as a second bottom, or its size: `img_size`, or `img_h` and `img_w`")

    def reshape(self, bottom, top):
        for blob in bottom:
            if len(blob.shape) != 4 or 0 in blob.shape[2:]:
                raise ShapeError(f"needs N x C x H x W with at least one pixel, got {format_shape(blob.shape)}")
        self.places, image = bottom[0].shape[2:], bottom[-1].shape[2:]
        if self.p.img_size is not None:
            image = (self.p.img_size, self.p.img_size)
        elif self.p.img_h is not None:
            image = (self.p.img_h, self.p.img_w)
        self.image, self.made = image, None
        top[0].reshape((1, 2, self.places[0] * self.places[1] * len(self.p.boxes()) * 4))

    def boxes(self):
        """Ends of all boxes in parts of the image, H x W x P x (left, upper, right, lower)."""
        (rows, columns), (height, width) = self.places, self.image
        step_h, step_w = self.p.step_h or self.p.step or height / rows, self.p.step_w or self.p.step or width / columns
        half = np.array(self.p.boxes()) / 2
        ends = np.empty((rows, columns, len(half), 4))
        x = (np.arange(columns) + self.p.offset)[:, None] * step_w
        y = (np.arange(rows) + self.p.offset)[:, None, None] * step_h
        ends[..., 0], ends[..., 2] = (x - half[:, 0]) / width, (x + half[:, 0]) / width
        ends[..., 1], ends[..., 3] = (y - half[:, 1]) / height, (y + half[:, 1]) / height
        return np.clip(ends, 0, 1) if self.p.clip else ends

    def Forward_cpu(self, bottom, top):
        if self.made is None:
            self.made = self.boxes().ravel()
        top[0].data[0, 0] = self.made
        top[0].data[0, 1].reshape(-1, 4)[...] = self.p.variance
