"""Where a program's batches come from: arrays beside it, in the order in which nettrain takes them."""

from __future__ import annotations

import numpy as np

from ...layers.data.data import Data
from ...net.step import Step
from .code import Code, refuse
from .expressions import comment, number, text, times

Arrays = dict[str, np.ndarray]


def is_source(step: Step) -> bool:
    """Whether a layer makes blobs from no others, and has nothing to learn."""
    return not step.bottom and not step.layer.blobs


class Source:
    """The lines that load the arrays of a Data layer, and those that take the next batch of them."""

    def __init__(self, code: Code, step: Step, arrays: Arrays, iter_size: int = 1, test: bool = False):
        if not isinstance(step.layer, Data):
            raise refuse(step, "of the layers that read data only Data can")
        self.code, self.step, self.iter_size = code, step, iter_size
        self.layer: Data = step.layer
        self.transform = self.layer.p.transform
        if any(self.layer.are_maps):
            raise refuse(step, "label maps that are cropped and flipped with their images are not covered")
        self.tops = [code.blobs[key] for key in step.top_keys]
        self.size, self.count = self.layer.order.size, self.layer.batch_size
        self.moves = bool(self.transform.crop_size or self.transform.mirror)
        self.is_whole = self.size == self.count and not (self.layer.order.shuffle or self.moves or test)
        word = "test" if test else "all"
        self.names = self.tops if self.is_whole else [code.names.new(f"{word}_{top}") for top in self.tops]
        self.keys = self.names if test else self.tops  # in the file of arrays
        code.whole |= self._keep(arrays)

    def _keep(self, arrays: Arrays) -> set:
        """Put the arrays among those to be saved; returns the blobs that hold integers."""
        whole = set()
        numbers = np.arange(self.size)
        sets = [self.layer.set.data, *self.layer.further]
        self.kinds = []
        for i, (key, array) in enumerate(zip(self.step.top_keys, sets, strict=True)):
            values = array if isinstance(array, np.ndarray) else np.asarray(array[numbers])
            if i and values.dtype.kind in "bui":
                values = values.astype(np.int64)
                whole.add(key)
            arrays[self.keys[i]] = values
            self.kinds.append("" if (i and key in whole) or values.dtype == np.float64 else ".astype(float)")
        if self.layer.mean is not None:
            self.mean = self.code.names.new(f"mean_of_{self.tops[0]}")
            arrays[self.mean] = self.layer.mean
        return whole

    def loading(self) -> list[str]:
        """The lines before the loop."""
        lines = comment(f"{self.step.spec.name} (Data): {self.size:,} examples of {self.layer.set.origin}")
        for i, (name, key, kind) in enumerate(zip(self.names, self.keys, self.kinds, strict=True)):
            values = f'arrays["{key}"]{kind}'
            lines.append(f"{name} = {values if i else self.transformed(values)}")
        if self.layer.order.shuffle:
            self.order, self.epoch = self.code.names.new("order"), self.code.names.new("epoch")
            lines.append(f"{self.order}, {self.epoch} = np.arange(0), 0")
        return lines

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
        if p.scale == 1:
            return values[1:-1] if values.startswith("(") else values
        return times(values, p.scale)

    def next(self) -> list[str]:
        """The lines that take the next batch."""
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
        lines += self.cut(first, batch, taken) if self.moves else [f"{first[0]} = {first[1]}[{batch}]"]
        return lines + [f"{top} = {name}[{batch}]" for top, name in others]

    def cut(self, first: tuple[str, str], batch: str, taken: str) -> list[str]:
        """A random square of each image, or its mirror image."""
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


def inference_lines(code: Code, step: Step, x: str, arrays: Arrays) -> tuple[list[str], str]:
    """(what is done to inputs before the net takes them, how they look) for a layer whose first top they replace."""
    layer = step.layer
    if not isinstance(layer, Data):
        return [], " x ".join(map(str, ["N", *step.top[0].shape[1:]]))
    p = layer.p.transform
    lines = []
    shape = layer.set.data.shape[1:]
    if layer.mean is not None:
        mean = code.names.new(f"mean_of_{x}")
        arrays[mean] = layer.mean
        lines.append(f'{x} = {x} - arrays["{mean}"]')
    if p.mean_value:
        values = [float(v) for v in p.mean_value]
        mean = number(values[0]) if len(values) == 1 else f"np.array({values})[:{', None' * (len(shape) - 1)}]"
        lines.append(f"{x} = {x} - {mean}")
    if p.scale != 1:
        lines.append(f"{x} = {times(x, p.scale)}")
    if p.crop_size:
        top, left = ((size - p.crop_size) // 2 for size in shape[1:])
        lines.append(f"{x} = {x}[:, :, {top}:{top + p.crop_size}, {left}:{left + p.crop_size}]")
    return lines, " x ".join(map(str, ["N", *shape]))
