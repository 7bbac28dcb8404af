"""DummyData: constants or random numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ...net.blob import Blob
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError
from ..shape.shapes import Shapes


@register
class DummyData(Layer):
    """Blobs filled by a filler: constant ones once, random ones anew in every forward pass.

    top[i]: of shape[i] (or the only one), filled by data_filler[i] (or the only one; constant 0 when none is given).
    Errors: a number of shapes or fillers that is neither one nor that of the tops.
    Source: Caffe's DummyData.
    """

    class Parameters(Declared):
        shape: Shapes = param(doc="shape of each top, or one for all: [4, 3]")
        data_filler: tuple[Filler, ...] = param(default=(), doc="filler of each top, or one for all")

        aliases = {"dummy_data_param": "write its fields beside type", "filler": "data_filler"}

    num_bottoms = 0
    num_tops = (1, None)
    no_gradient = "all"
    examples = (
        Example(params={"shape": [4, 3], "data_filler": "gaussian"}),
        Example(params={"shape": [[2, 3], [2]], "data_filler": [{"type": "uniform", "max": 4}, 1]}, tops=2),
    )

    def setup(self, bottom, top):
        self.p.shape.check_count(len(top))
        if len(self.p.data_filler) not in (0, 1, len(top)):
            given = len(self.p.data_filler)
            raise NettrainError(
                f"needs one filler, or one for each of its {len(top)} tops, got {given}", key="data_filler"
            )
        self.filled = False

    def reshape(self, bottom, top):
        for i, blob in enumerate(top):
            blob.reshape(self.p.shape.of(i))

    def fill_constants(self, top: list[Blob]) -> None:
        """Fill the tops that are constant, once: what a program then writes into them stays."""
        for blob, filler in self._fillers(top):
            if filler.type == "constant" and not self.filled:
                filler.fill(blob.data, self.rng)
        self.filled = True

    def Forward_cpu(self, bottom, top):
        self.fill_constants(top)
        for blob, filler in self._fillers(top):
            if filler.type != "constant":
                filler.fill(blob.data, self.rng)

    def _fillers(self, top: list[Blob]) -> Iterator[tuple[Blob, Filler]]:
        fillers = self.p.data_filler or (Filler(),)
        return zip(top, fillers if len(fillers) > 1 else fillers * len(top), strict=True)
