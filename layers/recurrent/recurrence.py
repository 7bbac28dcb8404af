"""What RNN, LSTM and GRU share: sequences, where they begin, states that are given, exposed or carried on."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ...compute.blas import matmul
from ...compute.parallel import run
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from ..loss.targets import CONT

SEQUENCES = 16  # rows of a product worth a thread: with fewer, most of its time goes to packing the weights
LARGE = 256  # values of a step above which threads help


def begins(rng, shape):
    """Some sequences begin (0), others continue (1)."""
    return (rng.random(shape) < 0.6).astype(float)


# examples of a type whose only state is h
ONE_STATE = (
    Example([(3, 2, 3), (3, 2)], {"num_output": 3}, {1: begins}),
    Example([(2, 2, 2, 2), (2, 2), (2, 3)], {"num_output": 3}, {1: begins}),
    Example([(2, 2, 3), (2, 2), (1, 2, 3)], {"num_output": 3, "expose_hidden": True}, {1: begins}, tops=2),
)


class RecurrentParameters(Declared):
    """Caffe's recurrent_param."""

    num_output: int = param(minimum=1, doc="H, size of a state and of an output")
    weight_filler: Filler = param(default=Filler(type="xavier"), doc="initial values of the weights")
    bias_filler: Filler = param(default=Filler(), doc="initial values of the biases")
    expose_hidden: bool = param(
        default=False, doc="initial states come from bottoms, last ones are tops, 1 x N x H each"
    )
    debug_info: bool = param(default=False, doc="accepted, without effect")

    aliases = {
        "recurrent_param": "write its fields beside type",
        "hidden_size": "num_output",
        "hidden": "num_output",
    }


class Recurrence(Layer):
    """A layer over sequences, T x N x D, that runs them step by step with states h (and c), N x H.

    ``states`` names them; ``gates`` is how many values of size H a step computes from x and h. What x and the static
    input give all steps is one product; a type writes ``forward_steps`` and ``backward_steps``, the loops over time.
    """

    Parameters = RecurrentParameters
    num_bottoms = (2, None)
    num_tops = (1, None)
    no_gradient = (1,)
    continues_by = 1
    batch_axis = 1
    backward_reads = ("bottom.data",)
    states: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[int] = 1

    def setup(self, bottom, top):
        exposed = len(self.states) if self.p.expose_hidden else 0
        self.static = len(bottom) == 3 + exposed
        if len(bottom) not in (2 + exposed, 3 + exposed):
            first = "".join(f", first {name}" for name in self.states if exposed)
            raise ShapeError(
                f"needs {2 + exposed} or {3 + exposed} bottoms (x, cont, a static input if there is one{first}), "
                f"got {len(bottom)}",
                key=("bottom", "expose_hidden"),
            )
        if len(top) != 1 + exposed:
            last = "".join(f", last {name}" for name in self.states if exposed)
            raise ShapeError(f"makes {1 + exposed} tops (output{last}), got {len(top)}", key=("top", "expose_hidden"))
        self.carried: dict[str, np.ndarray] = {}
        self.H, self.N = self.p.num_output, -1
        self.D = math.prod(bottom[0].shape[2:])
        self._check(bottom)
        self.add_blob((self.gates * self.H, self.D), self.p.weight_filler)
        self.add_blob((self.gates * self.H,), self.p.bias_filler)
        if self.static:
            self.E = math.prod(bottom[2].shape[1:])
            self.add_blob((self.gates * self.H, self.E), self.p.weight_filler)
        self.add_blob((self.gates * self.H, self.H), self.p.weight_filler)
        self.of_h = len(self.blobs) - 1  # which blob multiplies h

    def _check(self, bottom):
        x, cont = bottom[0].shape, bottom[1].shape
        if len(x) < 2 or len(cont) != 2 or x[:2] != cont:
            raise ShapeError(
                f"needs x of T x N x … and cont of T x N, got {format_shape(x)} and {format_shape(cont)}", key="bottom"
            )
        if not x[0]:
            raise ShapeError(f"needs at least one step, got x of {format_shape(x)}")
        if math.prod(x[2:]) != self.D or not self.D:
            raise ShapeError(f"a step takes {self.D} inputs for each example, got {format_shape(x[2:])}")
        if self.static and (bottom[2].shape[:1] != x[1:2] or len(bottom[2].shape) < 2):
            raise ShapeError(f"the static input must be N x … with N = {x[1]}, got {format_shape(bottom[2].shape)}")
        if self.p.expose_hidden:
            for name, blob in zip(self.states, bottom[-len(self.states) :], strict=True):
                if blob.shape != (1, x[1], self.H):
                    wanted = format_shape((1, x[1], self.H))
                    raise ShapeError(f"the first {name} must be {wanted}, got {format_shape(blob.shape)}")

    def reshape(self, bottom, top):
        self._check(bottom)
        CONT.check_known(bottom[1])
        T, N = bottom[1].shape
        if N != self.N:
            self.carried = {}
        self.T, self.N = T, N
        top[0].reshape((T, N, self.H))
        for blob in top[1:]:
            blob.reshape((1, N, self.H))

    def over_time(self, name, size):
        """Memory for T x N x size that backward needs."""
        return self.buffer(name, (self.T, self.N, size))

    def flat(self, array):
        """T x N x … as a matrix with a row for each step of each sequence."""
        return array.reshape(self.T * self.N, math.prod(array.shape[2:]))

    def Forward_cpu(self, bottom, top):
        self.begin(bottom)
        self.end(top, self.sequences_forward(bottom, top[0].data))

    def begin(self, bottom):
        """Where sequences begin, and the states before the first step."""
        CONT.check(bottom[1])
        self.cont = self.buffer("cont", (self.T, self.N, 1))
        np.copyto(self.cont, bottom[1].data.reshape(self.cont.shape))
        self.first = {name: self.buffer(f"first {name}", (self.N, self.H)) for name in self.states}
        for i, name in enumerate(self.states):
            if self.p.expose_hidden:
                np.copyto(self.first[name], bottom[len(bottom) - len(self.states) + i].data[0])
            else:
                carried = self.carried.get(name, np.zeros(()))
                # one from a snapshot may have a different number of sequences
                np.copyto(self.first[name], carried if carried.shape == (self.N, self.H) else 0)

    def sequences_forward(self, bottom, y):
        """All steps of all sequences; fills y, returns the last states."""
        x, pre = bottom[0].data, self.over_time("pre", self.gates * self.H)
        matmul(self.flat(x), self.blobs[0].data.T, out=self.flat(pre))
        pre += self.blobs[1].data
        if self.static:
            xs = bottom[2].data.reshape(self.N, self.E)
            pre += np.matmul(xs, self.blobs[2].data.T, out=self.buffer("static", pre.shape[1:]))
        self.kept = self.over_time("kept", self.H)  # cont_t h_{t-1}
        return self.forward_steps(pre, y)

    def end(self, top, last):
        """The last states become tops, or are kept for the next batch."""
        for name, blob in zip(self.states, top[1:], strict=False):
            np.copyto(blob.data[0], last[name])
        if not self.p.expose_hidden:
            for name in self.states:
                self.carried[name] = self.buffer(f"carried {name}", (self.N, self.H))
                np.copyto(self.carried[name], last[name])

    def over_sequences(self, steps):
        """Call ``steps(rows)``, the loop over time, with some of the sequences at a time, on all threads."""
        pieces = max(1, min(16, self.N // SEQUENCES)) if self.gates * self.H >= LARGE else 1
        cuts = [self.N * i // pieces for i in range(pieces + 1)]
        run(lambda i: steps(slice(cuts[i], cuts[i + 1])), pieces)

    def forward_steps(self, pre, y):
        """All steps, from what x gives the gates; fills y, returns the last states."""
        raise NotImplementedError

    def Backward_cpu(self, top, propagate_down, bottom):
        last = {name: blob.diff[0] for name, blob in zip(self.states, top[1:], strict=False)}
        dpre = self.over_time("dpre", self.gates * self.H)
        dfirst = self.backward_steps(dpre, top[0].diff, last)
        flat = self.flat(dpre)
        if self.param_propagate_down[0]:
            self.add_product(0, flat, self.flat(bottom[0].data))
        if self.param_propagate_down[1]:
            self.blobs[1].diff += np.sum(flat, axis=0, out=self.buffer("db", (self.gates * self.H,)))
        if propagate_down[0]:
            matmul(flat, self.blobs[0].data, out=self.flat(bottom[0].diff))
        if self.static:
            total = np.sum(dpre, axis=0, out=self.buffer("static", dpre.shape[1:]))
            if self.param_propagate_down[2]:
                self.add_product(2, total, bottom[2].data.reshape(self.N, self.E))
            if propagate_down[2]:
                np.matmul(total, self.blobs[2].data, out=bottom[2].diff.reshape(self.N, self.E))
        self.to_first(propagate_down, bottom, dfirst)

    def to_first(self, propagate_down, bottom, dfirst):
        """Give the gradients of the first states to the bottoms they come from, if they are bottoms."""
        for i, name in enumerate(self.states if self.p.expose_hidden else ()):
            at = len(bottom) - len(self.states) + i
            if propagate_down[at]:
                np.copyto(bottom[at].diff[0], dfirst[name])

    def backward_steps(self, dpre, dy, last):
        """All steps in reverse; fills dpre, adds to the other parameters' diffs, returns the first states'
        gradients. ``last`` has those of the last states, where they are tops."""
        raise NotImplementedError

    def add_product(self, i, dy, x):
        """dW += dyᵀ x"""
        dW, cleared = self.blobs[i].diff_to_add_to()
        matmul(dy.T, x, out=dW, add=not cleared)

    def multiply_adds(self, bottom, top):
        per_step = sum(blob.count for blob in self.blobs if len(blob.shape) == 2)
        return self.T * self.N * per_step

    def skip(self, batches):
        """A state carried on is that of a batch which was not computed here: ``follows_on`` says where it matters."""

    def follows_on(self, bottom):
        return not self.p.expose_hidden and bool(self.cont[0].any())

    def start_pass(self):
        """A pass over a data set begins with fresh states."""
        self.carried = {}

    def state(self):
        return {"carried": {name: values.tolist() for name, values in self.carried.items()}}

    def set_state(self, state):
        self.carried = {name: np.array(values, self.dtype) for name, values in state["carried"].items()}
