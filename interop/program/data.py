"""Where a program's batches come from: arrays beside it, in the order in which nettrain takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.data.data import Data
from ...layers.data.image_data import ImageData
from ...net.blob import Blob
from ...net.step import Step
from ...spec.errors import SpecError
from .code import Code
from .expressions import comment, has_brackets, number, text, times
from .refusals import refused


def is_source(step: Step) -> bool:
    """Whether a layer makes blobs from no others, and has nothing to learn."""
    return not step.bottom and not step.layer.blobs


class Source:
    """The lines that make the batches of a layer: ``loading`` before the loop, ``next`` in it. ``test`` says that a
    test goes through the examples once."""

    def __init__(self, code: Code, step: Step, iter_size: int = 1, test: bool = False):
        self.code, self.step, self.iter_size = code, step, iter_size
        self.layer: Any = step.layer
        self.tops = [code.blobs[key] for key in step.top_keys]
        if why := self.refusal():
            raise SpecError([refused(step, why)])

    def refusal(self) -> str:
        """Why this case of the type is not covered; nothing when it is."""
        return ""

    def loading(self) -> list[str]:
        """The lines before the loop."""
        return []

    def next(self) -> list[str]:
        """The lines that take the next batch."""
        raise NotImplementedError

    def title(self, what: str = "", indent: int = 8) -> list[str]:
        """A comment with the layer's name and type."""
        return comment(f"{self.step.spec.name} ({type(self.layer).__name__}): {what}", indent)

    def batch(self) -> str:
        """The number of the batch, from 0."""
        return "iteration" if self.iter_size == 1 else f"({self.iter_size} * iteration + part)"


class ArraySource(Source):
    """Examples that are read once, and taken in the order in which nettrain takes them."""

    covered: tuple[str, ...] = (
        "normalize",
        "resize",
        "fill",
    )  # what a transform may have that Caffe does not: all that is not random

    def __init__(self, code: Code, step: Step, iter_size: int = 1, test: bool = False):
        self.transform: Any = getattr(step.layer.p, "transform", None)
        super().__init__(code, step, iter_size, test)
        self.size, self.count = self.layer.order.size, self.layer.batch_size
        self.moves = self.is_moved()
        self.is_whole = self.size == self.count and not (self.layer.order.shuffle or self.moves or test)
        word = "test" if test else "all"
        self.names = self.tops if self.is_whole else [code.names.new(f"{word}_{top}") for top in self.tops]
        self.keys = self.names if test else self.tops  # in the file of arrays
        code.whole |= self._keep()

    def is_moved(self) -> bool:
        """Whether examples are cut or mirrored at random."""
        p = self.transform
        return p is not None and self.layer.phase == "TRAIN" and bool(p.crop_size or p.mirror)

    def refusal(self):
        unknown = [key for key in self.transform.beyond_caffe if key not in self.covered] if self.transform else []
        if unknown:
            return f"{' and '.join(unknown)} of a transform {'is' if len(unknown) == 1 else 'are'} not"
        if self.is_read_at_random():
            return "images that are cut, mirrored or left out at random are not, unless they are read by Data"
        return ""

    def is_read_at_random(self) -> bool:
        p = self.layer.p
        if not isinstance(self.layer, ImageData) or self.layer.phase == "TEST":
            return False
        return bool(p.transform.crop_size or p.transform.mirror or p.rand_skip > 1)

    def origin(self) -> str:
        return self.layer.origin

    def transformed(self, values: str) -> str:
        """What is done to the examples of the first top."""
        return values

    def _keep(self) -> set:
        """Put the arrays among those to be saved, as single precision where nothing is lost."""
        read = [Blob((self.size, *shape), np.dtype(float)) for shape in self.layer.shapes]
        self.layer.fill(np.arange(self.size), read, None)
        self.kinds = []
        for key, blob in zip(self.keys, read, strict=True):
            small = blob.data.astype(np.float32)
            is_same = np.array_equal(small, blob.data, equal_nan=True)
            self.code.arrays[key] = small if is_same else blob.data
            self.kinds.append(".astype(float)" if is_same else "")
        return set()

    def loading(self):
        lines = self.title(f"{self.size:,} examples of {self.origin()}", 0)
        for i, (name, key, kind) in enumerate(zip(self.names, self.keys, self.kinds, strict=True)):
            values = f'arrays["{key}"]{kind}'
            lines.append(f"{name} = {values if i else self.transformed(values)}")
        if self.layer.order.shuffle:
            self.order, self.epoch = self.code.names.new("order"), self.code.names.new("epoch")
            lines.append(f"{self.order}, {self.epoch} = np.arange(0), 0")
        return lines

    def next(self):
        if self.is_whole:
            return []
        batch = self.code.names.new("batch")
        taken = f"{self.count} * iteration"
        if self.iter_size > 1:
            taken = f"{self.count} * ({self.iter_size} * iteration + part)"
        if self.layer.order.shuffle:
            self.code.functions.add("stream")
            drawn = f'stream({text(self.step.spec.name)}, f"epoch {{{self.epoch}}}").permutation({self.size})'
            lines = [
                *comment(f"{self.step.spec.name}: the next {self.count} examples, each epoch in another order", 8),
                f"while len({self.order}) < {self.count}:",
                f"    {self.order} = np.append({self.order}, {drawn})",
                f"    {self.epoch} += 1",
                f"{batch}, {self.order} = {self.order}[:{self.count}], {self.order}[{self.count}:]",
            ]
        else:
            lines = [
                *comment(f"{self.step.spec.name}: the next {self.count} examples, in order", 8),
                f"{batch} = ({taken} + np.arange({self.count})) % {self.size}",
            ]
        first, *others = zip(self.tops, self.names, strict=True)
        lines += self.cut(first, batch, taken)
        return lines + [f"{top} = {name}[{batch}]" for top, name in others]

    def cut(self, first: tuple[str, str], batch: str, taken: str) -> list[str]:
        """The lines that give the first top, (its name, that of all examples)."""
        return [f"{first[0]} = {first[1]}[{batch}]"]


class DataSource(ArraySource):
    """A Data layer's examples, transformed by the program."""

    layer: Data
    covered = ("normalize", "fill")

    def is_read_at_random(self):
        return False

    def refusal(self):
        if any(self.layer.are_maps):
            return "label maps that are cropped and flipped with their images are not"
        return super().refusal()

    def origin(self):
        return self.layer.set.origin

    def _keep(self) -> set:
        """Put the arrays among those to be saved; returns the blobs that hold integers."""
        whole: set = set()
        numbers = np.arange(self.size)
        sets = [self.layer.set.data, *self.layer.further]
        self.kinds = []
        for i, (key, array) in enumerate(zip(self.step.top_keys, sets, strict=True)):
            values = array if isinstance(array, np.ndarray) else np.asarray(array[numbers])
            if i and values.dtype.kind in "bui":
                values = values.astype(np.int64)
                whole.add(key)
            self.code.arrays[self.keys[i]] = values
            self.kinds.append("" if (i and key in whole) or values.dtype == np.float64 else ".astype(float)")
        if self.layer.mean is not None:
            self.mean = self.code.names.new(f"mean_of_{self.tops[0]}")
            self.code.arrays[self.mean] = self.layer.mean
        return whole

    def transformed(self, values: str) -> str:
        """The mean subtracted, and scaled."""
        p = self.transform
        if self.layer.mean is not None:
            values = f'({values} - arrays["{self.mean}"])'
        if len(p.mean_value) > 1:
            axes = len(self.layer.set.data.shape) - 2
            values = f"({values} - np.array({[float(v) for v in p.mean_value]})[:{', None' * axes}])"
        elif p.mean_value and p.mean_value[0]:
            values = f"({values} - {number(p.mean_value[0])})"
        if p.normalize:
            values = f"({normalized(values, self.code, self.layer)})"
        if p.crop_size and not self.moves:
            values += middle(self.layer.set.data.shape[2:], p.crop_size)
        if p.scale == 1:
            return values[1:-1] if has_brackets(values) else values
        return times(values, p.scale)

    def cut(self, first: tuple[str, str], batch: str, taken: str) -> list[str]:
        """A random square of each image, or its mirror image."""
        if not self.moves:
            return super().cut(first, batch, taken)
        self.code.functions.add("stream")
        (height, width), (rows, columns) = self.layer.set.data.shape[2:], self.layer.shapes[0][1:]
        names = {what: self.code.names.new(what) for what in ("rng", "top", "left", "rows", "columns", "flipped")}
        rng, top, left, h, w, flipped = names.values()
        n, C = self.count, self.layer.shapes[0][0]
        where = f'f"transform {{divmod({taken}, {self.size})}}"'
        lines = [
            f"{rng} = stream({text(self.step.spec.name)}, {where})",
            f"{top} = {rng}.integers(0, {height - rows + 1}, {n})",
            f"{left} = {rng}.integers(0, {width - columns + 1}, {n})",
            f"{h}, {w} = {top}[:, None] + np.arange({rows}), {left}[:, None] + np.arange({columns})",
        ]
        if self.transform.mirror:
            lines += [f"{flipped} = {rng}.random({n}) < 0.5", f"{w}[{flipped}] = {w}[{flipped}, ::-1]"]
        channels = f"np.arange({C})[:, None, None]"
        places = f"{batch}[:, None, None, None], {channels}, {h}[:, None, :, None], {w}[:, None, None, :]"
        return [*lines, f"{first[0]} = {first[1]}[{places}]"]


def normalized(values: str, code: Code, layer: Data) -> str:
    """The mean of each channel subtracted, and divided by its deviation."""
    names = []
    for kind, numbers in layer.fitted["normalize"].items():
        names.append(code.names.new(f"{kind}_of_{layer.top_names[0]}"))
        code.arrays[names[-1]] = np.reshape(numbers, (-1, 1, 1))
    mean, std = names
    return f'({values} - arrays["{mean}"]) / arrays["{std}"]'


def middle(sizes: Sequence[int], crop: int) -> str:
    """The index of the square in the middle of images."""
    top, left = ((size - crop) // 2 for size in sizes)
    return f"[:, :, {top}:{top + crop}, {left}:{left + crop}]"


def inference_lines(code: Code, step: Step, i: int, x: str) -> tuple[list[str], str]:
    """(what is done to inputs before the net takes them, how they look) for a layer whose top i they replace."""
    layer = step.layer
    if not isinstance(layer, Data) or i:
        return [], " x ".join(map(str, ["T" if layer.batch_axis else "N", *step.top[i].shape[1:]]))
    p = layer.p.transform
    lines = []
    shape = tuple(layer.fitted["example"])
    if layer.mean is not None:
        mean = code.names.new(f"mean_of_{x}")
        code.arrays[mean] = layer.mean
        lines.append(f'{x} = {x} - arrays["{mean}"]')
    if p.mean_value:
        values = [float(v) for v in p.mean_value]
        mean = number(values[0]) if len(values) == 1 else f"np.array({values})[:{', None' * (len(shape) - 1)}]"
        lines.append(f"{x} = {x} - {mean}")
    if p.scale != 1:
        lines.append(f"{x} = {times(x, p.scale)}")
    if p.resize:
        raise SpecError([refused(step, "resize of a transform is not")])
    if p.normalize:
        lines.append(f"{x} = {normalized(x, code, layer)}")
    if p.crop_size:
        lines.append(f"{x} = {x}{middle(shape[1:], p.crop_size)}")
    return lines, " x ".join(map(str, ["N", *shape]))
