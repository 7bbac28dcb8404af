"""CopyTask: sequences to be remembered and repeated."""

from __future__ import annotations

from collections.abc import Iterable

from ...net.example import Example
from ...net.fillers import stream
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError

SILENT = -1.0  # the target where nothing has to be said


@register
class CopyTask(Layer):
    """Sequences of random bits to be repeated after a marker: the task Neural Turing Machines were demonstrated on.

    A sequence has L vectors of random bits, then the marker, then L steps of nothing, where the L vectors are wanted.
    All sequences of a batch have the same L, drawn for each batch from min_length … max_length; T = 2 L + 1.
    top[0]: the input, T x N x (bits + 1); the last number is the marker.
    top[1]: the target, T x N x bits: 0 and 1 where an answer is wanted, -1 before (``ignore_label: -1``).
    top[2], optional: cont, T x N: 0 at the first step and 1 after it, as recurrent layers read it.
    Batches never repeat in TRAIN; every test sees the same ones. All follow from the seed.
    Source: Graves et al., Neural Turing Machines, 2014, section 4.1.
    """

    class Parameters(Declared):
        batch_size: int = param(minimum=1, doc="N, sequences in a batch")
        bits: int = param(default=8, minimum=1, doc="bits of a vector")
        min_length: int = param(default=1, minimum=1, doc="smallest L")
        max_length: int = param(default=20, minimum=1, doc="largest L")

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.min_length > self.max_length:
                yield "min_length", f"must be at most max_length = {self.max_length}, got {self.min_length}"

    num_bottoms = 0
    num_tops = (2, 3)
    no_gradient = "all"
    shapes_follow_values = True
    batch_axis = 1
    examples = (
        Example(params={"batch_size": 2, "bits": 3, "min_length": 4, "max_length": 4}, tops=2),
        Example(params={"batch_size": 1, "min_length": 2, "max_length": 2}, tops=3),
    )

    def setup(self, bottom, top):
        self.batch = 0

    def reshape(self, bottom, top):
        self.give_shapes(self.p.max_length, top)

    def give_shapes(self, length, top):
        T, N, bits = 2 * length + 1, self.p.batch_size, self.p.bits
        for blob, shape in zip(top, [(T, N, bits + 1), (T, N, bits), (T, N)], strict=False):
            blob.reshape(shape)

    def Forward_cpu(self, bottom, top):
        p = self.p
        rng = stream(self.seed, self.name, f"{self.phase} batch {self.batch}")
        self.batch += 1
        length = int(rng.integers(p.min_length, p.max_length + 1))
        self.give_shapes(length, top)
        sequence = rng.integers(0, 2, (length, p.batch_size, p.bits))
        x, target = top[0].data, top[1].data
        x.fill(0)
        x[:length, :, : p.bits] = sequence
        x[length, :, p.bits] = 1
        target[: length + 1] = SILENT
        target[length + 1 :] = sequence
        if len(top) > 2:
            top[2].data.fill(1)
            top[2].data[0] = 0

    def skip(self, batches):
        self.batch += batches

    def start_pass(self):
        """Every test sees the same sequences."""
        self.batch = 0

    def state(self):
        return {"batch": self.batch}

    def set_state(self, state):
        if type(state["batch"]) is not int or state["batch"] < 0:
            raise NettrainError(f"`batch` must be an integer >= 0, got {state['batch']!r}")
        self.batch = state["batch"]
