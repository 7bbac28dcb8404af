"""RNN: a simple recurrent network."""

from __future__ import annotations

import numpy as np

from ...compute.blas import matmul, step_product
from ...compute.parallel import blockwise
from ...net.registry import register
from .recurrence import ONE_STATE, Recurrence


@register
class RNN(Recurrence):
    """A simple recurrent network: h_t = tanh(W_hh (cont_t h_{t-1}) + W_xh x_t + b_h), o_t = tanh(W_ho h_t + b_o).

    bottom[0]: x, T x N x …: T steps of N sequences, D inputs each.
    bottom[1]: cont, T x N, 0 where a sequence begins, 1 where it continues.
    then, if given: a static input xs, N x …, which adds W_xs xs to every step.
    top[0]: o, T x N x H, H = num_output.
    With expose_hidden the last bottom is h_0 and top[1] the last h, both 1 x N x H; else the first step of a batch goes
    on from the last one of the previous batch, if that had the same number of sequences.
    blobs: W_xh H x D, b_h H, [W_xs], W_hh H x H, W_ho H x H, b_o H.
    Backward: through all T steps, and to h_0 if that is a bottom (in Caffe not); not into the batch before.
    Initial values: weights xavier (Caffe: zeros), biases zero.
    Errors: x and cont that disagree; a cont outside [0, 1]; a number of inputs that is not the first batch's.
    Source: Caffe's RNN. Recurrent takes any cell.
    """

    examples = ONE_STATE

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.add_blob((self.H, self.H), self.p.weight_filler)
        self.add_blob((self.H,), self.p.bias_filler)

    def forward_steps(self, pre, y):
        W, first = self.blobs[self.of_h].data.T, self.first["h"]
        product = self.buffer("product", first.shape)

        def steps(rows):
            h, of_h = first[rows], step_product(W, product[rows])
            for t in range(self.T):
                kept, gates = self.kept[t, rows], pre[t, rows]
                np.multiply(h, self.cont[t, rows], out=kept)
                gates += of_h(kept)
                h = np.tanh(gates, out=gates)

        self.over_sequences(steps)
        matmul(self.flat(pre), self.blobs[-2].data.T, out=self.flat(y))
        y += self.blobs[-1].data
        self.o = self.over_time("o", self.H)
        blockwise(np.tanh, y, y)
        np.copyto(self.o, y)
        return {"h": pre[-1]}

    def backward_steps(self, dpre, dy, last):
        h, o, W = self.over_time("pre", self.H), self.o, self.blobs[self.of_h].data
        do, dh = self.over_time("do", self.H), self.over_time("dh", self.H)

        def through_tanh(y, dy, dx):
            np.multiply(y, y, out=dx)
            np.subtract(1, dx, out=dx)
            dx *= dy

        blockwise(through_tanh, o, dy, do)
        if self.param_propagate_down[-2]:
            self.add_product(len(self.blobs) - 2, self.flat(do), self.flat(h))
        if self.param_propagate_down[-1]:
            self.blobs[-1].diff += np.sum(self.flat(do), axis=0, out=self.buffer("db_o", (self.H,)))
        matmul(self.flat(do), self.blobs[-2].data, out=self.flat(dh))
        back = self.buffer("back", (self.N, self.H))  # what later steps give h
        np.copyto(back, last.get("h", 0))

        def steps(rows):
            dh_t = back[rows]
            through_h = step_product(W, dh_t)
            for t in reversed(range(self.T)):
                dh_t += dh[t, rows]
                through_tanh(h[t, rows], dh_t, dpre[t, rows])
                through_h(dpre[t, rows])
                dh_t *= self.cont[t, rows]

        self.over_sequences(steps)
        if self.param_propagate_down[self.of_h]:
            self.add_product(self.of_h, self.flat(dpre), self.flat(self.kept))
        return {"h": back}
