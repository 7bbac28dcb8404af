"""Which layers make batches in a program: those that read examples, and those that make them up."""

from __future__ import annotations

from ...layers.data.copy_task import SILENT, CopyTask
from ...layers.data.data import Data
from ...layers.data.dummy_data import DummyData
from ...layers.data.hdf5_data import HDF5Data
from ...layers.data.image_data import ImageData
from ...net.fillers import Filler
from ...net.step import Step
from ...spec.errors import SpecError
from .code import Code
from .data import ArraySource, DataSource, Source
from .expressions import text
from .initial import as_line
from .refusals import uncovered


class CopyTaskSource(Source):
    """Random bits to be repeated."""

    def next(self):
        p, layer = self.layer.p, self.layer
        self.code.functions.add("stream")
        rng, length, bits = (self.code.names.new(what) for what in ("rng", "length", "bits"))
        x, target, *cont = self.tops
        N, B = p.batch_size, p.bits
        lines = [
            *self.title("bits, a marker, then silence, in which the bits are wanted"),
            f'{rng} = stream({text(layer.name)}, f"{layer.phase} batch {{{self.code.batch}}}")',
            f"{length} = int({rng}.integers({p.min_length}, {p.max_length + 1}))",
            f"{bits} = {rng}.integers(0, 2, ({length}, {N}, {B}))",
            f"{x} = np.zeros((2 * {length} + 1, {N}, {B + 1}))",
            f"{x}[:{length}, :, :{B}] = {bits}",
            f"{x}[{length}, :, {B}] = 1",
            f"{target} = np.full((2 * {length} + 1, {N}, {B}), {SILENT})",
            f"{target}[{length} + 1 :] = {bits}",
        ]
        for name in cont:
            lines += [f"{name} = np.ones((2 * {length} + 1, {N}))", f"{name}[0] = 0"]
        return lines


class DummySource(Source):
    """Constants, and random numbers."""

    def __init__(self, code, step, test=False):
        fillers = step.layer.p.data_filler or (Filler(),)
        shapes = [blob.shape for blob in step.top]
        self.fillers = list(zip(shapes, fillers if len(fillers) > 1 else fillers * len(shapes), strict=True))
        super().__init__(code, step, test)

    def values(self, random):
        rng = self.code.local(self.step, "rng")
        for top, (shape, filler) in zip(self.tops, self.fillers, strict=True):
            if (filler.type != "constant") == random:
                yield top, as_line(filler, shape, False, rng)

    def refusal(self):
        made = [line for random in (False, True) for _, line in self.values(random)]
        return "" if all(made) else "a filler of its is not, which takes more than a line"

    def loading(self):
        lines = [f"{top} = {line}" for top, line in self.values(False)]
        if any(True for _ in self.values(True)):
            self.code.randomness(self.step)
        return [*self.title("made here", 0), *lines]

    def next(self):
        lines = [f"{top} = {line}" for top, line in self.values(True)]
        return [*self.title("random numbers"), *lines] if lines else []


SOURCES: dict[type, type[Source]] = {
    CopyTask: CopyTaskSource,
    Data: DataSource,
    DummyData: DummySource,
    HDF5Data: ArraySource,
    ImageData: ArraySource,
}


def source(code: Code, step: Step, test: bool = False) -> Source:
    """The lines for a layer that makes blobs from none. Raises SpecError for one that cannot be written."""
    found = SOURCES.get(type(step.layer))
    if found is None:
        raise SpecError([uncovered(step)])
    return found(code, step, test)
