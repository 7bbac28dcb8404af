"""A layer on its own, with random data and gradients around it: what the checks of its contract work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..net.blob import Blob
from ..net.example import Example
from ..net.layer import Layer
from ..net.user_code import calling
from ..spec.errors import ShapeError, format_shape


def describe(example: Example) -> str:
    """An example in a few words: shapes and parameters."""
    shapes = " ".join("(" + ",".join(map(str, shape)) + ")" for shape in example.bottoms)
    params = " ".join(f"{key} {_short(value)}" for key, value in example.params.items())
    return " ".join(filter(None, [shapes, params, "" if example.phase == "TRAIN" else example.phase]))


def _short(value: Any) -> str:
    return str(value).replace(" ", "").replace("'", "")


class Bench:
    """A layer on its own, with random data and gradients around it."""

    def __init__(
        self,
        cls: type[Layer],
        example: Example,
        seed: int = 1701,
        channels_last: bool = False,
        folder: Path | None = None,
    ):
        count = _count_of_tops(cls, example)
        rng = np.random.default_rng(seed)
        self.example, self.seed = example, seed
        parameters = cls.Parameters.from_mapping(example.params, cls.__name__)
        self.folder = folder
        names = [f"top{i}" for i in range(count)]
        with calling(cls, "__init__", lambda: f"example {describe(example)}"):
            self.layer = cls(
                parameters,
                name="gradcheck",
                phase=example.phase,
                seed=seed,
                dtype=np.float64,
                folder=folder,
                tops=names,
            )
        self.bottom = [Blob(shape, np.float64, channels_last) for shape in example.bottoms]
        self.top = [Blob((), np.float64) for _ in range(count)]
        for i, blob in enumerate(self.bottom):
            make = example.values.get(i, lambda rng, shape: rng.standard_normal(shape))
            blob.data[...] = make(rng, blob.shape)
        self.inputs = [blob.data.copy() for blob in self.bottom]
        self.spoiled: dict[str, str] = {}  # what a method changed that is not its to change -> the method
        self.draws = False  # whether Forward_cpu draws random numbers, which follow the order in memory
        self.run("setup", self.bottom, self.top)
        self.run("reshape", self.bottom, self.top)
        self.run("fill_blobs")
        self.first_blobs = [blob.data.copy() for blob in self.layer.blobs]
        if example.prepare:
            example.prepare(self.layer)
        if cls.shapes_follow_values:
            self.run("Forward_cpu", self.bottom, self.top)
        self.learned = list(self.layer.param_propagate_down)
        for blob, learned in zip(self.layer.blobs, self.learned, strict=True):
            if learned:
                blob.data += 0.1 * rng.standard_normal(blob.shape)
        self.state = self.run("state")
        self.upstream = [rng.standard_normal(blob.shape) for blob in self.top]
        self.before = [rng.standard_normal(blob.shape) for blob in self.bottom]  # what diffs hold before backward
        self.accumulated = [rng.standard_normal(blob.shape) for blob in self.layer.blobs]
        self.restore()

    def restore(self) -> None:
        """Give the bottoms their values again."""
        for blob, values in zip(self.bottom, self.inputs, strict=True):
            blob.data[...] = values

    def rewind(self) -> None:
        """Give the layer its state again, and the random numbers of the same batch."""
        self.layer.turn.begin(0)
        self.run("set_state", self.state)

    def run(self, method: str, *arguments: Any) -> Any:
        """Call a method of the layer. Raises UserCodeError for an exception in a layer of the user's own."""
        with calling(self.layer, method, self.shapes_in_words):
            return getattr(self.layer, method)(*arguments)

    def watch(self, method: str, *arguments: Any) -> Any:
        """``run``, and remember in ``spoiled`` which arrays it changed that others read later."""
        backward = method == "Backward_cpu"
        kept = {f"bottom[{i}].data": blob.data for i, blob in enumerate(self.bottom)}
        kept |= {f"blobs[{i}].data": b.data for i, b in enumerate(self.layer.blobs) if backward or self.learned[i]}
        if backward:
            kept |= {f"top[{i}].data": blob.data for i, blob in enumerate(self.top)}
            kept |= {f"top[{i}].diff": blob.diff for i, blob in enumerate(self.top)}
        else:
            kept |= {f"blobs[{i}].diff": blob.diff for i, blob in enumerate(self.layer.blobs)}
        before = {name: array.copy() for name, array in kept.items()}
        result = self.run(method, *arguments)
        for name, values in before.items():
            if not same_bits(kept[name], values):
                self.spoiled.setdefault(name, method)
        return result

    def shapes_in_words(self) -> str:
        shapes = {"bottom": self.bottom, "top": self.top, "blobs": self.layer.blobs}
        return " · ".join(f"{k} {', '.join(format_shape(b.shape) for b in v)}" for k, v in shapes.items() if v)

    def forward(self) -> float:
        """f = Σ top · upstream."""
        self.rewind()
        self.run("Forward_cpu", self.bottom, self.top)
        self.draws = self.layer.has_drawn
        return sum(float(np.vdot(t.data, g)) for t, g in zip(self.top, self.upstream, strict=True))

    def backward(self, propagate: list[bool], learn: list[bool], poison: str = "") -> tuple[list, list]:
        """Forward, then backward from prepared diffs. Returns the bottoms' diffs and what was added to the parameters'.

        ``poison``, bottom.data or top.data, is overwritten before: the layer says that it does not read it in backward.
        """
        self.restore()
        self.forward()
        for blob, values in zip(self.top, self.upstream, strict=True):
            blob.diff[...] = values
        for blob, values in zip(self.bottom, self.before, strict=True):
            blob.diff[...] = values
        for blob, values in zip(self.layer.blobs, self.accumulated, strict=True):
            blob.diff[...] = values
        for what, blobs in (("bottom.data", self.bottom), ("top.data", self.top)):
            if what == poison:
                for blob in blobs:
                    blob.data[...] = np.nan
        self.layer.param_propagate_down[:] = learn
        self.watch("Backward_cpu", self.top, propagate, self.bottom)
        self.layer.param_propagate_down[:] = self.learned
        added = [b.diff - before for b, before in zip(self.layer.blobs, self.accumulated, strict=True)]
        return [blob.diff.copy() for blob in self.bottom], added


def _count_of_tops(cls: type[Layer], example: Example) -> int:
    """How many tops the layer of an example gets. Raises ShapeError for more or fewer bottoms or tops than the type
    takes."""
    fewest = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
    tops = example.tops
    if tops is None:
        tops = len(example.bottoms) if cls.same_number_of_tops else fewest
    for what, given, allowed in (("bottom", len(example.bottoms), cls.num_bottoms), ("top", tops, cls.num_tops)):
        least, most = (allowed, allowed) if isinstance(allowed, int) else allowed
        if given < least or (most is not None and given > most):
            raise ShapeError(
                f"it has {given} {what}{'' if given == 1 else 's'}, the type takes "
                f"{least if least == most else allowed}; `num_{what}s = {given}` in the class, or another example"
            )
    return tops


@contextmanager
def files_of(example: Example) -> Iterator[Path | None]:
    """A folder with the files an example reads, as long as it lasts."""
    if example.files is None:
        yield None
        return
    with TemporaryDirectory() as name:
        example.files(Path(name))
        yield Path(name)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same values, NaN where the other has it."""
    return np.array_equal(a, b, equal_nan=True)
