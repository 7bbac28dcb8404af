"""GRU: gated recurrent unit."""

from __future__ import annotations

import numpy as np

from ...compute.blas import step_product
from ...net.registry import register
from .recurrence import ONE_STATE, Recurrence


@register
class GRU(Recurrence):
    """Gated recurrent unit: h_t = (1 - z) n + z h', h' = cont_t h_{t-1}.

    With W_x x_t + b_x and W_h h' + b_h split into three parts, r and z are σ of the sums of the first and second parts,
    n is tanh of the third part of x's plus r times the third part of h's.
    bottom[0]: x, T x N x …: T steps of N sequences, D inputs each.
    bottom[1]: cont, T x N, 0 where a sequence begins, 1 where it continues.
    then, if given: a static input xs, N x …, which adds W_xs xs to x's parts at every step.
    top[0]: h, T x N x H, H = num_output.
    With expose_hidden the last bottom is h_0 and top[1] the last h, both 1 x N x H; else the first step of a batch goes
    on from the last one of the previous batch, if that had the same number of sequences.
    blobs: W_x 3H x D, b_x 3H, [W_xs], W_h 3H x H, b_h 3H.
    Backward: through all T steps, and to h_0 if that is a bottom; not into the batch before.
    Initial values: weights xavier, biases zero.
    Errors: x and cont that disagree; a cont outside [0, 1]; a number of inputs that is not the first batch's.
    Source: Cho et al. 2014; PyTorch's GRU. Bottoms and tops as those of Caffe's LSTM.
    """

    gates = 3
    examples = ONE_STATE

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.add_blob((3 * self.H,), self.p.bias_filler)

    def forward_steps(self, pre, y):
        H, W = self.H, self.blobs[self.of_h].data.T
        self.of_kept = self.over_time("h's third part", H)
        products, parts = self.buffer("product", (self.N, 3 * H)), self.buffer("part", (self.N, H))

        def steps(rows):
            h, product = self.first["h"][rows], products[rows]
            of_h = step_product(W, product)
            for t in range(self.T):
                kept, gates = self.kept[t, rows], pre[t, rows]  # gates become r, z, n
                np.multiply(h, self.cont[t, rows], out=kept)
                of_h(kept)
                product += self.blobs[-1].data
                np.copyto(self.of_kept[t, rows], product[:, 2 * H :])
                shares = gates[:, : 2 * H]
                shares += product[:, : 2 * H]
                shares *= 0.5  # σ(a) = (1 + tanh(a/2)) / 2
                np.tanh(shares, out=shares)
                shares *= 0.5
                shares += 0.5
                n = gates[:, 2 * H :]
                n += np.multiply(gates[:, :H], product[:, 2 * H :], out=parts[rows])
                np.tanh(n, out=n)
                h = np.subtract(kept, n, out=y[t, rows])
                h *= gates[:, H : 2 * H]
                h += n

        self.over_sequences(steps)
        return {"h": y[-1]}

    def backward_steps(self, dpre, dy, last):
        H, W = self.H, self.blobs[self.of_h].data
        gates = self.over_time("pre", 3 * H)
        dproduct = self.over_time("dproduct", 3 * H)  # of W_h h' + b_h
        all_dh, parts = self.buffer("dh", (self.N, H)), self.buffer("part", (self.N, H))
        np.copyto(all_dh, last.get("h", 0))

        def steps(rows):
            dh, part = all_dh[rows], parts[rows]
            through_h = step_product(W, dh)
            for t in reversed(range(self.T)):
                r, z, n = (gates[t, rows, i * H : (i + 1) * H] for i in range(3))
                dr, dz, dn = (dpre[t, rows, i * H : (i + 1) * H] for i in range(3))
                dh += dy[t, rows]
                np.subtract(self.kept[t, rows], n, out=dz)
                dz *= dh
                dz *= z
                dz *= np.subtract(1, z, out=part)
                np.multiply(part, dh, out=dn)  # dh (1 - z)
                dn *= np.subtract(1, np.multiply(n, n, out=part), out=part)
                np.multiply(dn, self.of_kept[t, rows], out=dr)
                dr *= r
                dr *= np.subtract(1, r, out=part)
                of_product = dproduct[t, rows]
                np.copyto(of_product, dpre[t, rows])
                of_product[:, 2 * H :] *= r
                through = np.multiply(dh, z, out=part)
                through_h(of_product)
                dh += through
                dh *= self.cont[t, rows]

        self.over_sequences(steps)
        if self.param_propagate_down[self.of_h]:
            self.add_product(self.of_h, self.flat(dproduct), self.flat(self.kept))
        if self.param_propagate_down[-1]:
            self.blobs[-1].diff += np.sum(self.flat(dproduct), axis=0, out=self.buffer("db_h", (3 * H,)))
        return {"h": all_dh}
